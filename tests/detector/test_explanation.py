"""Why an image has its score: the nearest texts are those of the largest cosines."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from colours import COLOURS, ColourEncoder, picture
from synood import OODDetector
from synood.detector.explanation import nearest_texts
from synood.features.texts import class_features, unit
from synood.labels.prompts import find_prompt_set

pytestmark = pytest.mark.numerical


@given(st.integers(1, 60), st.integers(1, 4), st.integers(0, 2**32 - 1), st.booleans())
def test_the_nearest_texts_are_those_of_the_largest_cosines(texts, count, seed, coarse):
    """The oracle sorts all cosines in double precision; with `coarse` many of them are equal."""
    rng = np.random.default_rng(seed)
    rows, features = rng.normal(size=(5, 3)), rng.normal(size=(texts, 3))
    if coarse:  # vectors of 0 and 1: the same cosine again and again
        rows, features = (np.abs(x).round() % 2 + np.eye(3)[0] for x in (rows, features))
    names = [f"text {number}" for number in range(texts)]
    units = features / np.linalg.norm(features, axis=1)[:, None]
    found = nearest_texts(rows.astype(np.float32), units.astype(np.float32), names, count)
    cosines = (rows / np.linalg.norm(rows, axis=1)[:, None]) @ (
        features / np.linalg.norm(features, axis=1)[:, None]
    ).T
    for row, matches in zip(cosines, found, strict=True):
        assert len(matches) == min(count, texts)
        assert [m.cosine for m in matches] == pytest.approx(
            sorted(row, reverse=True)[:count], abs=2e-6
        )
        for match in matches:
            assert row[names.index(match.name)] == pytest.approx(match.cosine, abs=2e-6)
        if coarse:  # exactly equal ones are in the order of the texts
            ties = [(m.cosine, names.index(m.name)) for m in matches]
            assert ties == sorted(ties, key=lambda pair: (-pair[0], pair[1]))


@pytest.fixture(scope="module")
def detector():
    """Six colours as classes; six words that mean other colours as negative labels."""
    encoder = ColourEncoder()
    prompts = [f"a photo of a {word}" for word in ("rope", "lamp", "bell", "spoon", "tower", "key")]
    encode = lambda blocks: encoder.encode_texts([texts[0] for texts in blocks])  # noqa: E731
    return OODDetector(
        encoder,
        tuple(COLOURS),
        "photo",
        class_features(encode, tuple(COLOURS), find_prompt_set("photo").name),
        tuple(prompts),
        unit(encoder.encode_texts(prompts)),
    )


def test_a_prediction_says_what_its_image_is_nearest_to(detector):
    images = [picture(colour, noise=seed) for seed, colour in enumerate(COLOURS, start=1)]
    rows = detector.embed(images)
    rows = rows / np.linalg.norm(rows, axis=1)[:, None]
    for colour, row, found in zip(COLOURS, rows, detector.predict(images), strict=True):
        assert found.label == colour == found.why.classes[0].name
        cosines = detector.class_features @ row
        names = [detector.class_names[i] for i in np.argsort(-cosines)[:3]]
        assert [match.name for match in found.why.classes] == names
        nearest = detector.negative_prompts[int((detector.negative_features @ row).argmax())]
        assert found.why.negatives[0].name == nearest
        assert found.why.image_class is None


def test_why_is_told_alone_and_among_others_and_only_when_asked(detector):
    images = [picture(colour, noise=9) for colour in COLOURS]
    several = detector.predict(images)
    assert [detector.predict(image)[0].why for image in images] == [one.why for one in several]
    found = detector.predict_features(detector.embed(images))
    assert [one.why for one in found] == [one.why for one in several]
    assert all(one.why is None for one in detector.iter_predict(images))
    plain = detector.predict_features(detector.embed(images), explain=False)
    assert [one.score for one in plain] == [one.score for one in found]
    assert all(one.why is None for one in plain)
