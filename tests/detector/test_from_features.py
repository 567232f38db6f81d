"""The door for features computed anywhere: in Python and on the command line."""

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from synood import OODDetector, ood_metrics
from synood.cli import main
from synood.errors import InputError
from synood.features.files import read_features

pytestmark = pytest.mark.numerical

DIM, CLASSES = 24, ["ant", "bee", "cat"]


def around(centres, each, seed=0, spread=0.2):
    rng = np.random.default_rng(seed)
    rows = np.repeat(np.eye(DIM)[centres], each, axis=0)
    return (3 * (rows + spread * rng.normal(size=rows.shape))).astype(np.float32)


def train(each=20, seed=0):
    return around([0, 1, 2], each, seed), np.repeat(np.arange(3), each)


NEW, OTHER = around([0, 1, 2], 40, 7), around([8, 9, 10], 40, 8)
TEXTS, NEGATIVES = np.eye(DIM)[:3] + 0.1, np.eye(DIM)[6:] + 0.1


def file_of(path, texts=True, metadata=None, **more):
    features, labels = train()
    tensors = {"features": features, "labels": labels.astype(np.int64)}
    if texts:
        tensors |= {"text_features": TEXTS, "negative_features": NEGATIVES}
    tensors = {name: value for name, value in (tensors | more).items() if value is not None}
    known = {"class_names": json.dumps(CLASSES)} if metadata is None else metadata
    save_file({k: np.ascontiguousarray(v) for k, v in tensors.items()}, path, known)
    return path


@pytest.mark.parametrize("texts", [True, False])
def test_it_tells_classes_from_others(texts):
    more = (TEXTS, NEGATIVES) if texts else ()
    detector = OODDetector.from_features(*train(), CLASSES, *more)
    assert detector.image_evidence.uses_text == texts
    assert ood_metrics(detector.score_features(NEW), detector.score_features(OTHER)).auroc > 0.99
    labels = [one.label for one in detector.predict_features(NEW)]
    assert np.mean(np.array(labels) == np.repeat(CLASSES, 40)) > 0.95
    kept = detector.score_features(NEW) >= detector.threshold
    assert kept.mean() > 0.85
    assert detector.calibration.images == 60


def test_labels_may_be_names_and_lengths_do_not_matter():
    features, labels = train()
    by_number = OODDetector.from_features(features, labels, CLASSES)
    lengths = np.random.default_rng(0).uniform(0.1, 9, (len(features), 1)).astype(np.float32)
    named = OODDetector.from_features(
        features * lengths, [CLASSES[i] for i in labels], CLASSES, logit_scale=10
    )
    np.testing.assert_allclose(
        named.score_features(NEW), by_number.score_features(NEW), rtol=1e-3, atol=1e-3
    )


def test_one_class_and_too_few_images_for_a_threshold():
    features, _ = train(each=2)
    detector = OODDetector.from_features(features[:2], [0, 0], ["ant"])
    assert detector.threshold is None
    assert "no threshold" in detector.notes[-1]
    assert np.isfinite(detector.score_features(OTHER)).all()
    scored = detector.score_features(NEW[:40]), detector.score_features(OTHER)
    assert ood_metrics(*scored).auroc > 0.9


def test_images_cannot_be_scored_and_the_file_says_so(tmp_path):
    detector = OODDetector.from_features(*train(), CLASSES, TEXTS, NEGATIVES)
    detector.save_pretrained(tmp_path / "detector")
    assert json.loads((tmp_path / "detector" / "config.json").read_text())["backbone"] is None
    read = OODDetector.from_pretrained(tmp_path / "detector")
    assert read.backbone.is_absent
    np.testing.assert_array_equal(read.score_features(NEW), detector.score_features(NEW))
    picture = np.zeros((8, 8, 3), np.uint8)
    for one in (detector, read):
        with pytest.raises(InputError, match=r"score_features.*--features FILE"):
            one.score([picture])
    card = (tmp_path / "detector" / "README.md").read_text()
    assert "--features FILE.safetensors" in card
    assert "computed elsewhere" in card


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"features": np.full((60, DIM), np.nan)}, "features: row 0"),
        ({"features": np.zeros((60, DIM))}, "features: row 0"),
        ({"labels": np.arange(60)}, "0 to 2"),
        ({"labels": ["ant"] * 60}, "class 'bee' has no image"),
        ({"labels": ["ant", "dog"] * 30}, "'dog' is none of the detector's 3 classes"),
        ({"labels": np.zeros((60, 2))}, "a class for each image"),
        ({"class_names": ["ant", "bee", "bee"]}, "'bee' is listed twice"),
        ({"class_names": ["ant", "bee", "cat", "dog"]}, "class 'dog' has no image"),
        ({"text_features": TEXTS}, "negative_features: needed beside text_features"),
        ({"negative_features": NEGATIVES}, "text_features: needed beside negative_features"),
        ({"text_features": TEXTS[:2], "negative_features": NEGATIVES}, "2 rows for 3 class names"),
        ({"text_features": TEXTS[:, :9], "negative_features": NEGATIVES}, "9 columns"),
        ({"text_features": TEXTS, "negative_features": NEGATIVES[:0]}, "negative_features"),
        ({"logit_scale": 0}, "logit_scale"),
        ({"negative_labels": ["x"]}, "1 for 0 rows"),
    ],
)
def test_what_does_not_fit_is_named(change, words):
    features, labels = train()
    given = {"features": features, "labels": labels, "class_names": CLASSES, **change}
    with pytest.raises(InputError, match=words):
        OODDetector.from_features(**given)


def test_the_command_line_fits_scores_and_calibrates(tmp_path, capsys):
    path = file_of(tmp_path / "train.safetensors")
    assert main(["fit", "--features", str(path), "--out", str(tmp_path / "run")]) == 0
    detector = tmp_path / "run" / "detector"
    assert str(detector) in capsys.readouterr().out
    new = tmp_path / "new.safetensors"
    ids = {"ids": json.dumps([f"image {row}" for row in range(3)])}
    save_file({"features": np.concatenate([NEW[:2], OTHER[:1]])}, new, ids)
    made = ["score", str(detector), "--features", str(new), "--format", "jsonl"]
    assert main([*made, "--fail-on-ood"]) == 3
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["is_ood"] for row in rows] == [False, False, True]
    assert rows[0]["path"] == "image 0"
    loaded = OODDetector.from_pretrained(detector)
    np.testing.assert_allclose([row["score"] for row in rows], loaded.score_features(
        np.concatenate([NEW[:2], OTHER[:1]])), rtol=1e-4)  # fmt: skip
    short = tmp_path / "short.safetensors"
    save_file({"features": NEW[:, 1:].copy()}, short)
    assert main(["score", str(detector), "--features", str(short)]) == 2
    width = NEW.shape[1]
    told = f"short.safetensors: its features have {width - 1} numbers each, those of the detector "
    assert f"{told}{width};" in capsys.readouterr().err
    held = tmp_path / "held.safetensors"
    save_file({"features": NEW}, held)
    assert main(["calibrate", str(detector), "--features", str(held)]) == 0
    assert OODDetector.from_pretrained(detector).calibration.images == len(NEW)


def test_the_command_line_says_what_is_missing(tmp_path, capsys):
    for number, (changes, words) in enumerate(
        (
            ({"labels": None}, "has no labels"),
            ({"metadata": {}}, "has no class_names"),
            ({"features": None}, "no tensor `features`"),
            ({"features": np.ones((60, 4), np.int64)}, "floating point"),
            ({"other": np.ones(3)}, "unknown tensor 'other'"),
            ({"labels": np.zeros(9, np.int64)}, "9 labels for 60 features"),
            ({"metadata": {"class_names": "[1]"}}, "class_names must be a list of texts"),
            ({"metadata": {"class_names": "x"}}, "not JSON"),
        )
    ):
        path = file_of(tmp_path / f"{number}.safetensors", **changes)
        assert main(["fit", "--features", str(path), "--out", str(tmp_path / "run")]) == 2
        found = capsys.readouterr().err
        assert words in found, (words, found)
    assert main(["fit", "--features", str(tmp_path / "no"), "--out", str(tmp_path / "run")]) == 2
    assert "is no file" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_names_may_lie_beside_the_file(tmp_path):
    path = file_of(tmp_path / "photos.safetensors", metadata={}, labels=None)
    labels = [CLASSES[row // 20] for row in range(60)]
    beside = {"class_names": CLASSES, "labels": labels, "logit_scale": 30}
    (tmp_path / "photos.json").write_text(json.dumps(beside))
    found = read_features(path)
    assert found.labels == labels
    assert found.class_names == CLASSES
    assert found.logit_scale == 30
    assert found.names()[1] == "photos.safetensors#1"
