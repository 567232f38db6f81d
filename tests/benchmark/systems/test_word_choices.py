"""How NegRefine, InterNeg and Fort et al. choose what class names are held against."""

from __future__ import annotations

import zlib
from dataclasses import replace

import numpy as np
import pytest

from planted import CLASSES, DIM, OTHERS, direction, encoded, planted_inputs
from synood import scores
from synood.benchmark.protocol.fit_inputs import CandidateWords
from synood.benchmark.systems import find_system
from synood.benchmark.systems.interneg import class_proxies, ranked_words, share_out
from synood.benchmark.systems.negrefine import refined
from synood.errors import InputError
from synood.labels.imagenet import class_names_by_wnid
from synood.labels.lists import read_labels
from synood.labels.wordnet import Word

pytestmark = pytest.mark.numerical


def words(*texts, pos="noun"):
    return [Word(text, pos, "") for text in texts]


def test_negrefine_drops_proper_nouns_and_kinds_of_near_classes():
    candidates = words("spaniel", "lake superior", "teapot", "dogs", "collie", "sedan")
    features = np.eye(6, dtype=np.float32) + 0.1
    names = ("dog", "car")
    kept, dropped = refined(np.arange(6), candidates, features, names, np.eye(6)[:2])
    assert [candidates[row].text for row in kept] == ["teapot"]
    assert dropped == 5
    adjectives = [replace(word, pos="adjective") for word in candidates]
    kept, dropped = refined(np.arange(6), adjectives, features, names, np.eye(6)[:2])
    assert (len(kept), dropped) == (6, 0)


def test_negrefine_compares_with_the_ten_nearest_classes_only():
    names = ("dog", *(f"class {number}" for number in range(12)))
    classes = np.eye(13, dtype=np.float32)
    far = np.arange(13.0, dtype=np.float32)[None]  # "dog" is the least similar of thirteen
    kept, _ = refined(np.array([0]), words("spaniel"), far, names, classes)
    assert kept.tolist() == [0]
    kept, _ = refined(np.array([0]), words("spaniel"), far[:, ::-1], names, classes)
    assert kept.tolist() == []
    assert refined(np.arange(0), words("spaniel"), far, names, classes)[1] == 0


def test_negrefine_is_what_the_formulas_say():
    """A straight-line twin: five negatives and three classes of each image, all pairs."""
    inputs = planted_inputs(validation_ood=())
    fitted = find_system("negrefine").fit(inputs, 0)
    test = encoded("test", "id", CLASSES, 5, 10)
    unit = test.features / np.linalg.norm(test.features, axis=1, keepdims=True)
    classes, negatives = np.eye(DIM)[:3], np.eye(DIM)[3:9]
    expected = []
    for x in unit.astype(np.float64):
        powers = np.exp(np.concatenate([classes, negatives]) @ x / 0.1)
        neglabel = powers[:3].sum() / powers.sum()  # six negatives are fewer than 100 groups
        best = 0.0
        for n in np.argsort(-(negatives @ x))[:5]:
            pair = direction(OTHERS[n])  # a text means the name it ends with
            best = max(best, 1 / (1 + np.exp(-((pair - negatives[n]) @ x) / 0.1)))
        mean = (neglabel + 2 * best) / 3
        expected.append(np.log(mean / (1 - mean)))
    np.testing.assert_allclose(fitted(test), expected, rtol=1e-3, atol=1e-4)
    assert fitted.chosen == {"negatives": 6, "dropped": 0}


def test_negrefine_takes_the_released_labels_for_imagenets_classes():
    names = tuple(class_names_by_wnid("synood").values())
    asked = []

    class AnyText:
        """Every text has a direction of its own."""

        def texts(self, prompts, progress=None):
            asked.extend(text for own in prompts for text in own)
            seeds = [zlib.crc32(own[0].encode()) for own in prompts]
            return np.stack(
                [np.random.default_rng(seed).normal(size=DIM) for seed in seeds]
            ).astype(np.float32)

    inputs = planted_inputs(class_names=names, store=AnyText())
    fitted = find_system("negrefine").fit(inputs, 0)
    labels = [word.text for word in read_labels("negrefine-imagenet").words]
    assert (fitted.chosen["negatives"], fitted.chosen["labels"]) == (6370, "negrefine-imagenet")
    assert "temperature" in fitted.chosen
    prompts = set(asked)
    assert {"a photo of a external carotid artery", "a bacchanalian pattern photo"} <= prompts
    pairs = [text for text in asked if " and " in text and text.split(" and ", 1)[1] in labels]
    assert pairs, "class and negative in one text"
    scored = fitted(encoded("test", "id", CLASSES, 2, 10))
    assert np.isfinite(scored).all()


def test_interneg_keeps_words_farther_from_every_class_than_its_name():
    rng = np.random.default_rng(0)
    texts = rng.normal(size=(60, 8)).astype(np.float32) + 1
    names, images = rng.normal(size=(4, 8)) + 1.5, rng.normal(size=(4, 8)) + 1.5

    def cos(a, b):
        return a @ b / np.linalg.norm(a) / np.linalg.norm(b)

    value = {}
    for row, text in enumerate(texts):
        gaps = [cos(e, p) - cos(text, p) for e, p in zip(names, images, strict=True)]
        if min(gaps) > 0:
            value[row] = np.mean(gaps)
    assert 5 < len(value) < 55
    some = [*words(*map(str, range(40))), *words(*map(str, range(40, 60)), pos="adjective")]
    nouns, adjectives = ranked_words(some, texts, names, scores.normalise(images))
    assert nouns.tolist() == sorted((r for r in value if r < 40), key=lambda r: -value[r])
    assert adjectives.tolist() == sorted((r for r in value if r >= 40), key=lambda r: -value[r])
    count = len(value) - 3
    taken = share_out((nouns, adjectives), count)
    of_adjectives = int(count * (len(adjectives) / len(value)))
    assert taken.tolist() == [*nouns[: count - of_adjectives], *adjectives[:of_adjectives]]


def test_interneg_says_which_class_lacks_images_and_when_no_word_is_left():
    inputs = planted_inputs()
    rows = np.flatnonzero(inputs.train.labels != 1)
    with pytest.raises(InputError, match="set 'train': class 'bee' has no image"):
        class_proxies(replace(inputs, train=inputs.train.take(rows)), 0)
    near = CandidateWords(words("ant hill"), direction("ant")[None])
    with pytest.raises(InputError, match="InterNeg: no candidate word is left"):
        find_system("interneg-words").fit(replace(inputs, load_words=lambda mining: near), 0)


def test_outlier_names_are_taken_or_read_from_the_validation_folders():
    given = planted_inputs(validation_ood=(), outlier_names=("lamp", "bee", "pier"))
    fitted = find_system("fort").fit(given, 0)
    assert (fitted.chosen["names"], fitted.chosen["source"]) == (2, "given")
    test = encoded("test", "id", CLASSES, 5, 10)
    unit = test.features / np.linalg.norm(test.features, axis=1, keepdims=True)
    cosines = unit @ np.eye(DIM)[[0, 1, 2, 4, 8]].T
    powers = np.exp((cosines - cosines.max(1, keepdims=True)).astype(float) / 0.01)
    expected = np.log(powers[:, :3].sum(1)) - np.log(powers[:, 3:].sum(1))
    np.testing.assert_allclose(fitted(test), expected, rtol=1e-3)
    known = planted_inputs(validation_names=("oven", "moor"))
    assert find_system("fort").fit(known, 0).chosen["source"] == "validation OOD sets"
    with pytest.raises(InputError, match=r"Fort et al\.: no name of an outlier is known"):
        find_system("fort").fit(planted_inputs(), 0)
