"""From features to verdicts: the graph says what the detector says, for every kind of detector."""

from dataclasses import replace

import numpy as np
import pytest

from planted import CLASSES, DIM, OTHERS, around, direction
from synood import OODDetector
from synood.deploy._assembling import detector_model
from synood.deploy.onnx_detector import OnnxDetector
from synood.detector.backbone import Backbone
from synood.detector.prediction import image_evidence_of
from synood.settings import ScoreSettings

pytestmark = pytest.mark.numerical

NAMES = list(CLASSES)
TRAIN = around(CLASSES, 30, 0), np.repeat(np.arange(len(CLASSES)), 30)
NEW = np.concatenate([around((*CLASSES, *OTHERS), 20, 3), around(CLASSES, 40, 4, spread=0.6)])
TEXTS = np.stack([direction(name) for name in CLASSES]) + 0.1
NEGATIVES = np.stack([direction(name) for name in OTHERS]) + np.float32(0.1)


def from_names(negatives=NEGATIVES, **settings):
    def unit(rows):
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)

    return OODDetector(
        encoder=Backbone.absent(),
        class_names=CLASSES,
        prompt_set="given",
        class_features=unit(TEXTS),
        negative_prompts=tuple(f"negative {row}" for row in range(len(negatives))),
        negative_features=unit(negatives),
        settings=ScoreSettings(**{"temperature": 0.1, "groups": 1, "seed": 0, **settings}),
    )


def from_images(texts):
    more = (TEXTS, NEGATIVES) if texts else ()
    return OODDetector.from_features(*TRAIN, NAMES, *more)


def calibrated(detector, **options):
    rows = around(CLASSES, 40, 9, spread=0.4)
    scores = detector.score_features(rows)
    found = detector.predict_features(rows, explain=False)
    labels, looks = [one.label for one in found], image_evidence_of(found)
    return detector.calibrate(scores, labels=labels, image_evidence=looks, **options)


def of_one_class():
    features, labels = TRAIN
    return OODDetector.from_features(features[labels == 0], labels[labels == 0], NAMES[:1])


DETECTORS = {
    "class names": lambda: calibrated(from_names()),
    "negatives in groups, some left over": lambda: calibrated(
        from_names(np.random.default_rng(0).normal(size=(103, DIM)), groups=10, seed=3)
    ),
    "a temperature at which shares saturate": lambda: calibrated(from_names(temperature=1e-4)),
    "images alone": lambda: from_images(texts=False),
    "images and texts, with a projection": lambda: from_images(texts=True),
    "one class": of_one_class,
    "thresholds by class": lambda: calibrated(from_images(texts=True), per_class=True, tpr=0.9),
    "a class with too few images for its own": lambda: replace(
        calibrated(from_names(), per_class=True, tpr=0.97)
    ),
    "no threshold": from_names,
    "a threshold set by hand": lambda: replace(calibrated(from_names()), threshold=1.1),
}


@pytest.fixture(scope="module", params=DETECTORS)
def pair(request):
    detector = DETECTORS[request.param]()
    return detector, exported(detector)


def exported(detector):
    data = detector_model(detector, "features", "float32", ()).SerializeToString()
    return OnnxDetector.from_bytes(data, "detector.onnx", threads=1)


def test_predictions_are_those_of_the_detector(pair):
    detector, file = pair
    own, theirs = detector.predict_features(NEW, explain=False), file.predict_features(NEW)
    scores = np.array([[a.score, b.score] for a, b in zip(own, theirs, strict=True)])
    assert np.ptp(scores[:, 0]) > 1
    rounding = 1e-4 + 4e-7 / detector.settings.temperature  # of cosines, as log odds
    np.testing.assert_allclose(scores[:, 1], scores[:, 0], rtol=3e-6, atol=rounding)
    near = np.abs(scores[:, 0] - (detector.threshold or 0)) < 2 * rounding
    assert near.mean() < 0.1
    for a, b, close in zip(own, theirs, near, strict=True):
        assert a.label == b.label
        if a.image_evidence is None:
            assert b.image_evidence is None
        else:
            assert b.image_evidence == pytest.approx(a.image_evidence, rel=1e-5, abs=1e-5)
        assert close or a.is_ood == b.is_ood
        if a.p_value is None:
            assert b.p_value is None
        else:  # a score between two of the calibration may change places with one of them
            assert b.p_value == pytest.approx(a.p_value, abs=1.001 / (1 + detector_size(detector)))


def detector_size(detector):
    found = detector.calibration
    sizes = [len(found.scores)]
    if found.groups is not None:
        sizes += [len(found.groups.rest), *(len(own) for own in found.groups.own.values())]
    return min(sizes)


def test_the_file_knows_what_the_detector_is_called_by(pair):
    detector, file = pair
    assert file.class_names == detector.class_names
    assert file.threshold == detector.threshold
    assert file.dim == DIM
    found = file.calibration
    if detector.calibration is None:
        assert found is None
        return
    assert found == detector.calibration
    for name in ("scores", "labels", "image_evidence"):
        np.testing.assert_array_equal(getattr(found, name), getattr(detector.calibration, name))


@pytest.mark.parametrize("side", [-np.inf, None, np.inf])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_verdicts_at_the_threshold_itself(side, kind):
    """A score equal to the threshold is kept; a threshold between two float32s keeps its side."""
    detector = from_names()
    score = exported(detector).predict_features(NEW[:1])[0].score
    threshold = float(kind(score) if side is None else np.nextafter(kind(score), kind(side)))
    found = exported(replace(detector, threshold=threshold)).predict_features(NEW[:1])[0]
    assert found.is_ood is (score < threshold)


def test_the_threshold_is_an_input_that_may_be_left_out():
    detector = calibrated(from_names())
    session = exported(detector)._session
    assert [one.name for one in session.get_inputs()] == ["image_features"]
    assert [one.name for one in session.get_overridable_initializers()] == ["threshold"]
    feed = {"image_features": NEW}
    scores, own = session.run(["score", "is_ood"], feed)
    np.testing.assert_array_equal(own, scores < np.float32(detector.threshold))
    for given in (-3.0, 2.0):
        feed["threshold"] = np.array([given], np.float32)
        np.testing.assert_array_equal(session.run(["is_ood"], feed)[0], scores < given)
    labels = session.run(["label"], feed)[0]
    feed["threshold"] = np.array([np.inf, -np.inf, 0.0], np.float32)  # one for each class
    expected = np.where(labels == 2, scores < 0, labels == 0)
    np.testing.assert_array_equal(session.run(["is_ood"], feed)[0], expected)


def test_class_logits_name_the_class_and_features_pass_through():
    detector = from_images(texts=True)
    session = exported(detector)._session
    features, logits, label = session.run(
        ["features", "class_logits", "label"], {"image_features": NEW}
    )
    np.testing.assert_array_equal(features, NEW)
    np.testing.assert_array_equal(logits.argmax(axis=1), label)


def test_what_is_no_direction_is_out_of_distribution():
    """In Python it is refused; a graph cannot raise, so it must not pass for a class."""
    session = exported(calibrated(from_images(texts=True)))._session
    rows = np.stack([np.zeros(DIM), np.full(DIM, np.nan), np.full(DIM, np.inf), NEW[0]])
    found = session.run(["is_ood"], {"image_features": rows.astype(np.float32)})[0]
    assert found.tolist()[:3] == [True, True, True]


def test_equal_detectors_are_equal_bytes():
    first, second = (
        detector_model(
            calibrated(from_images(texts=True)), "features", "float32", ()
        ).SerializeToString()
        for _ in range(2)
    )
    assert first == second
    other = detector_model(
        replace(calibrated(from_images(texts=True)), threshold=0.5), "features", "float32", ()
    )
    assert other.SerializeToString() != first
