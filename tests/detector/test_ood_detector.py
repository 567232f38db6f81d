"""The detector: right answers on a world known by heart, and everything a user may hand it."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from colours import COLOURS, ColourEncoder, picture
from small_detector import COLOUR_CLASSES as CLASSES
from small_detector import COLOUR_NEGATIVES as NEGATIVES
from small_detector import colour_detector
from synood import ood_metrics, scores
from synood.errors import InputError
from synood.images.sources import find_images
from synood.settings import ScoreSettings
from synood.tuning.projection import Projection

pytestmark = pytest.mark.numerical


@pytest.fixture(scope="module")
def detector():
    return colour_detector()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("pictures")
    for number, colour in enumerate(["red", "blue", "green", "yellow"]):
        (root / str(number)).mkdir()
        picture(colour, noise=number + 1).save(root / str(number) / f"{colour}.png")
    return root


def noisy(colours, count=40):
    return [picture(colour, noise=seed + 1) for colour in colours for seed in range(count)]


def equation_2(features, detector, temperature):
    """The score written down in double precision, one image after the other."""
    found = []
    for feature in np.asarray(features, np.float64):
        feature = feature / np.linalg.norm(feature)
        sums = [
            sum(np.exp(float(feature @ text.astype(np.float64)) / temperature) for text in texts)
            for texts in (detector.class_features, detector.negative_features)
        ]
        found.append(sums[0] / sum(sums))
    return np.array(found)


def test_the_classes_score_higher_than_anything_else(detector):
    metrics = ood_metrics(detector.score(noisy(CLASSES)), detector.score(noisy(NEGATIVES)))
    assert metrics.auroc > 0.99


def test_the_score_is_equation_2():
    ungrouped = colour_detector(settings=ScoreSettings(temperature=0.5, groups=1))
    features = ColourEncoder().encode_images(noisy(COLOURS, 5))
    expected = equation_2(features, ungrouped, 0.5)
    assert 0.01 < expected.min() < 0.3 < 0.6 < expected.max() < 0.99
    found = ungrouped.score_features(features)
    np.testing.assert_allclose(scores.share(found), expected, atol=1e-5)
    np.testing.assert_allclose(found, np.log(expected / (1 - expected)), atol=1e-4)


def test_groups_are_the_means_of_their_own_scores():
    settings = ScoreSettings(temperature=0.5, groups=2, seed=3)
    features = ColourEncoder().encode_images(noisy(COLOURS, 3))
    order = np.random.default_rng(3).permutation(4).reshape(2, 2)
    halves = [colour_detector(negatives=[NEGATIVES[i] for i in rows]) for rows in order]
    expected = np.mean([equation_2(features, half, 0.5) for half in halves], axis=0)
    found = colour_detector(settings=settings).score_features(features)
    np.testing.assert_allclose(scores.share(found), expected, atol=1e-5)


def test_images_that_one_class_would_saturate_keep_their_order():
    """At CLIP's temperature most shares of one class are exactly 1 in single precision."""
    one = colour_detector(["red"], ["blue", "cyan"], settings=ScoreSettings(temperature=0.001))
    features = ColourEncoder().encode_images(noisy(["red"], 60))
    found = one.score_features(features)
    assert (scores.share(found) == 1).all()
    assert len(set(found.tolist())) > 50
    cosines = features / np.linalg.norm(features, axis=1, keepdims=True)
    own, other = (cosines @ side.T for side in (one.class_features, one.negative_features))
    np.testing.assert_allclose(found, 1000 * (own[:, 0] - other.max(axis=1)), rtol=0.01)


def test_every_way_to_give_an_image_gives_one_score(detector, folder):
    path = next(iter(sorted(folder.rglob("*.png"))))
    image = Image.open(path)
    array = np.asarray(image)
    expected = detector.score([path])
    assert expected.shape == (1,)
    assert expected.dtype == np.float32
    ways = [path, str(path), [str(path)], image, [image], array, [array], array[None]]
    for way in [*ways, (item for item in [path]), path.parent, [path.parent]]:
        np.testing.assert_array_equal(detector.score(way), expected)


def test_folders_and_indexes_are_read_in_sorted_order(detector, folder):
    paths = sorted(folder.rglob("*.png"))
    expected = detector.score(paths)
    np.testing.assert_array_equal(detector.score(folder), expected)
    np.testing.assert_array_equal(detector.score(find_images([folder])), expected)
    assert [found.path for found in detector.predict(folder)] == paths
    assert [found.path for found in detector.predict([Image.open(paths[0])])] == [None]


def test_an_opened_picture_scores_as_its_file(detector, tmp_path):
    clear = Image.new("RGBA", (8, 8), (0, 0, 255, 128))
    clear.save(tmp_path / "clear.png")
    turned = picture("red", 16)
    turned.paste((0, 255, 0), (0, 0, 16, 4))
    turned.getexif()[0x0112] = 6
    turned.save(tmp_path / "turned.png", exif=turned.getexif())
    for path in sorted(tmp_path.glob("*.png")):
        np.testing.assert_array_equal(detector.score(Image.open(path)), detector.score(path))


def test_no_images_give_no_scores(detector):
    assert detector.score([]).shape == (0,)
    assert detector.predict([]) == []
    assert detector.score_features(np.zeros((0, 4))).shape == (0,)


@pytest.mark.parametrize("name", ["a\0.png", "a" * 5000])
def test_a_name_that_no_file_can_have_is_refused(detector, name):
    with pytest.raises(InputError, match="cannot be read"):
        detector.score(name)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((8, 8, 3)),
        np.zeros((8, 8, 4), np.uint8),
        np.zeros((3, 8, 8), np.uint8),
        np.zeros((0, 8, 3), np.uint8),
    ],
)
def test_arrays_that_are_no_pictures_are_refused(detector, array):
    with pytest.raises(InputError, match="needs uint8 of shape"):
        detector.score([array])


@pytest.mark.parametrize("features", [np.zeros((2, 5)), np.zeros(4), np.full((1, 4), np.nan)])
def test_features_that_do_not_fit_are_refused(detector, features):
    with pytest.raises(InputError, match=r"image.features"):
        detector.score_features(features)


def test_an_image_that_cannot_be_read_is_named(detector, tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"broken\.jpg"):
        detector.score(tmp_path)


def test_predicting_many_goes_on_past_one_that_cannot_be_read(detector, tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    good, bad = noisy(COLOURS, 30)[0], tmp_path / "broken.jpg"
    first, second, third = detector.predict([good, bad, tmp_path / "absent.png"])
    assert first == detector.predict(good)[0]
    assert "broken.jpg" in second.error
    assert "absent.png" in third.error
    assert np.isnan([second.score, third.score]).all()
    assert (second.is_ood, second.label) == (None, "")
    assert detector.predict(tmp_path)[0].error == second.error
    for alone in (bad, str(bad)):
        with pytest.raises(InputError, match=r"broken\.jpg"):
            detector.predict(alone)


def test_company_and_order_change_no_score(detector):
    images = noisy(COLOURS, 30)
    together = detector.score(images)
    np.testing.assert_array_equal(detector.score(images[::-1])[::-1], together)
    singles = np.concatenate([detector.score(image) for image in images[::17]])
    np.testing.assert_allclose(singles, together[::17], atol=1e-6)


def test_many_images_are_decoded_a_batch_at_a_time():
    detector = colour_detector()
    taken = []

    def stream():
        for number in range(1000):
            taken.append(number)
            yield picture("red")

    first = next(detector.iter_predict(stream()))
    assert first.label == "red"
    assert len(taken) <= 64
    assert detector.score(stream()).shape == (1000,)
    assert detector.backbone.load().largest_batch <= 64


def test_predictions_hold_score_label_and_no_verdict_without_a_threshold(detector):
    images = [picture("red"), picture("green"), picture("magenta")]
    found = detector.predict(images)
    assert [prediction.label for prediction in found[:2]] == ["red", "green"]
    assert all(prediction.is_ood is None for prediction in found)
    np.testing.assert_array_equal(
        [prediction.score for prediction in found], detector.score(images)
    )


def test_a_calibrated_detector_gives_verdicts_and_the_first_one_stays_as_it_was(detector):
    images = noisy(CLASSES, 50)
    ready = detector.calibrate(images, tpr=0.9)
    assert detector.threshold is None
    verdicts = [prediction.is_ood for prediction in ready.predict(images)]
    assert verdicts.count(False) == 91  # the tenth smallest of 100 is the threshold
    assert ready.calibration.tpr_reached == verdicts.count(False) / 100
    assert ready.threshold == ready.calibration.threshold
    assert all(prediction.is_ood for prediction in ready.predict(noisy(NEGATIVES, 3)))
    for prediction in ready.predict(noisy(COLOURS, 3)):
        assert prediction.is_ood == (prediction.p_value < 0.1)
        assert prediction.p_value == ready.p_values([prediction.score])[0]
    assert all(one.p_value is None for one in detector.predict(images[:2]))
    with pytest.raises(InputError, match="p-values need in-distribution images"):
        detector.p_values([0.0])


def test_a_threshold_set_by_hand_is_the_one_that_counts(detector):
    ready = detector.calibrate(noisy(CLASSES, 50), tpr=0.9, per_class=True)
    lowest = min(ready.calibration.threshold_of(row) for row in (0, 1))
    for found in ready.predict(noisy(COLOURS, 3)):
        row = ready.class_names.index(found.label)
        assert found.is_ood == (found.score < ready.calibration.threshold_of(row))
    by_hand = dataclasses.replace(ready, threshold=lowest - 1e4)
    assert not any(found.is_ood for found in by_hand.predict(noisy(COLOURS, 3)))


@pytest.mark.parametrize(
    "kind",
    [
        np.asarray,
        list,
        lambda scores: [float(s) for s in scores],
        lambda scores: torch.from_numpy(scores).requires_grad_(),
        lambda scores: [torch.tensor(s) for s in scores],
    ],
)
def test_calibrating_on_scores_or_on_images_is_the_same(detector, kind):
    images = noisy(CLASSES, 20)
    expected = detector.calibrate(images)
    assert detector.calibrate(kind(detector.score(images))).calibration == expected.calibration


def test_calibrating_on_nothing_is_refused(detector):
    with pytest.raises(InputError, match="at least one score"):
        detector.calibrate([])


@pytest.fixture(scope="module")
def tuned(detector):
    weight = np.random.default_rng(0).normal(size=(4, 4)).astype(np.float32)
    zero, one = np.zeros(4, np.float32), np.ones(4, np.float32)
    return dataclasses.replace(detector, projection=Projection(weight, zero, one, zero, 1e-5))


def test_the_projection_is_applied_before_the_score(detector, tuned):
    images = noisy(COLOURS, 2)
    features = ColourEncoder().encode_images(images)
    expected = detector.score_features(tuned.projection.apply(features))
    np.testing.assert_array_equal(tuned.score_features(features), expected)
    assert not np.array_equal(expected, detector.score_features(features))
    np.testing.assert_array_equal(tuned.score(images), expected)
    assert [found.score for found in tuned.predict(images)] == expected.tolist()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"class_features": np.eye(2, 4)}, "class features should be float32"),
        ({"class_features": np.eye(3, 4, dtype=np.float32)}, r"float32 \(2, D\)"),
        ({"class_features": 2 * np.eye(2, 4, dtype=np.float32)}, "must have unit length"),
        ({"negative_features": np.eye(4, 5, dtype=np.float32)}, "differ in length"),
        ({"negative_prompts": ("blue",)}, r"negative features should be float32 \(1, D\)"),
        ({"threshold": float("nan")}, "threshold nan is not a number"),
        ({"tuned_rows": (0, 4)}, "ascending rows"),
        ({"tuned_rows": (1, 0)}, "ascending rows"),
    ],
)
def test_parts_that_do_not_fit_make_no_detector(detector, change, message):
    with pytest.raises(InputError, match=message):
        dataclasses.replace(detector, **change)


def test_an_encoder_given_plainly_is_recorded_by_its_own_name(detector):
    plain = dataclasses.replace(detector, encoder=ColourEncoder())
    assert plain.backbone.bundle == "colours"
    assert plain.backbone.fingerprint == ColourEncoder.fingerprint
    np.testing.assert_array_equal(plain.score(picture("red")), detector.score(picture("red")))


def test_loading_and_scoring_features_needs_no_torch_and_no_training_code(tuned, tmp_path):
    tuned.save_pretrained(tmp_path / "detector")
    code = (
        "import sys, numpy as np; from synood import OODDetector;"
        "detector = OODDetector.from_pretrained(sys.argv[1]);"
        "detector.score_features(np.ones((2, 4), np.float32));"
        "heavy = {'torch', 'transformers', 'diffusers', 'synood.pipeline', 'synood.synthesis'};"
        "sys.exit(len(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "detector")], check=False)
    assert done.returncode == 0


def test_a_detector_is_shown_in_one_line(detector):
    shown = "2 classes, 4 negatives, recipe='zero-shot', backbone='colours', threshold=None"
    assert repr(detector) == f"OODDetector({shown})"
