"""`fit` with an encoder of images alone: image evidence, and nothing that needs a text."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from small_run import contents
from synood import OODDetector
from synood.errors import InputError
from synood.files import read_json, read_jsonl
from synood.models.bundles import Bundle
from synood.pipeline.recipe import read_recipe
from synood.pipeline.rundir.status import read_status
from tiny_vision import tiny_vision

COLOURS = {"red": (200, 40, 40), "green": (40, 190, 50), "blue": (40, 60, 200)}


def colour_pictures(root, colours, count=14, seed=0):
    """Folders of noisy pictures of a colour each."""
    rng = np.random.default_rng(seed)
    for name, colour in colours.items():
        (root / name).mkdir(parents=True)
        for number in range(count):
            pixels = np.clip(np.array(colour) + rng.normal(0, 25, (20, 26, 3)), 0, 255)
            Image.fromarray(pixels.astype(np.uint8)).save(root / name / f"{number}.png")
    return root


@pytest.fixture(scope="module")
def dino(tmp_path_factory):
    return tiny_vision(tmp_path_factory.mktemp("models") / "dino", "dinov2")


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return colour_pictures(tmp_path_factory.mktemp("data") / "photos", COLOURS)


@pytest.fixture(scope="module")
def fitted(dino, photos, tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "run"
    return OODDetector.fit(photos, run=run, models=f"photo+encoder={dino}"), run


@pytest.mark.numerical
def test_scores_are_those_of_a_detector_from_the_same_features(fitted, photos):
    detector, run = fitted
    rows = read_jsonl(run / "select.jsonl")  # in the order in which the evidence is given them
    rows.sort(key=lambda row: not {"tune", "learn"} & set(row["uses"]))
    paths, labels = [photos / row["id"] for row in rows], [row["label"] for row in rows]
    assert len(paths) == 3 * 14
    features = detector.embed(paths)
    expected = OODDetector.from_features(features, labels, detector.class_names)
    np.testing.assert_allclose(detector.score(paths), expected.score_features(features), atol=1e-3)
    assert detector.threshold == pytest.approx(expected.threshold, abs=1e-3)
    assert [one.label for one in detector.predict(paths)] == labels


def test_it_tells_what_is_like_no_class_and_says_that_it_has_no_texts(fitted, tmp_path):
    detector, run = fitted
    strange = colour_pictures(tmp_path / "strange", {"grey": (128, 128, 128)}, seed=9)
    known = colour_pictures(tmp_path / "known", COLOURS, seed=8, count=5)
    assert detector.score(strange).max() < np.median(detector.score(known))
    assert detector.image_evidence.weights[0] == 0
    assert detector.negative_prompts == ()
    (why,) = [one.why for one in detector.predict([next(known.rglob("*.png"))])]
    assert why.classes == why.negatives == ()
    assert why.image_class in COLOURS
    card = (run / "detector" / "README.md").read_text()
    assert "which reads no texts" in card
    assert "No texts, and so no negative labels" in card
    assert "by the images that it was made from" in card
    assert "equation 2" not in card


def test_it_is_saved_and_read_with_its_encoder(fitted, dino, photos):
    detector, run = fitted
    again = OODDetector.from_pretrained(run / "detector")
    assert again.backbone.bundle == f"photo+encoder={dino}"
    np.testing.assert_array_equal(again.score(photos), detector.score(photos))
    assert read_json(run / "detector" / "config.json")["negatives"] == 0


def test_the_run_says_what_it_leaves_out_and_records_it(fitted):
    _, run = fitted
    assert read_status(run).state == "done"
    assert not (run / "describe.jsonl").exists()
    assert not (run / "synthesize").exists()
    recipe = read_recipe(run / "run.toml")
    assert (recipe.synthesis.method, recipe.evidence.text, recipe.projection.views) == (
        "none",
        0,
        0,
    )
    said = [row["message"] for row in read_jsonl(run / "events.jsonl") if row["event"] == "notice"]
    (told,) = [text for text in said if "reads no texts" in text]
    assert "nothing is mined, synthesized or tuned" in told


def test_a_finished_run_is_read_back_and_loads_nothing(fitted, dino, photos, monkeypatch):
    _, run = fitted
    before = contents(run)
    monkeypatch.setattr(Bundle, "encoder", lambda *_: pytest.fail("the encoder was loaded"))
    OODDetector.fit(photos, run=run, models=f"photo+encoder={dino}")
    assert contents(run) == before


def test_a_run_elsewhere_has_the_same_bytes(fitted, dino, photos, tmp_path):
    _, run = fitted
    OODDetector.fit(photos, run=tmp_path / "again", models=f"photo+encoder={dino}")
    assert contents(tmp_path / "again") == contents(run)


def test_what_needs_texts_is_refused_by_name(dino, photos, tmp_path):
    models = f"photo+encoder={dino}"
    with pytest.raises(
        InputError, match=r"recipe 'paper': scores by texts.*reads none; take `plus`"
    ):
        OODDetector.fit(photos, "paper", run=tmp_path / "run", models=models)
    with pytest.raises(InputError, match=r"negatives: encoder .* reads images alone"):
        OODDetector.fit(photos, run=tmp_path / "run", models=models, negatives=["car"])
    assert not (tmp_path / "run").exists()


def test_class_names_may_be_anything_and_one_class_is_enough(dino, tmp_path):
    name = "a name that no text tower would take whole, " * 5
    photos = colour_pictures(tmp_path / "photos", {name.strip(): (90, 90, 20)}, count=24)
    detector = OODDetector.fit(photos, run=tmp_path / "run", models=f"photo+encoder={dino}")
    assert detector.threshold is not None
    strange = colour_pictures(tmp_path / "strange", {"violet": (160, 20, 220)})
    assert detector.score(strange).max() < detector.score(photos).min()
