"""Test-time systems in batches: straight-line twins, what inversions do, what rows record."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from planted import CLASSES, DIM, OTHERS, direction, encoded, planted_inputs
from synood import scores
from synood.benchmark.protocol.system import stream_of
from synood.benchmark.systems import find_system, oodd
from synood.benchmark.systems._growing import ChosenLabels, GrowingLabels
from synood.benchmark.systems._inversion import PROMPT, Inversion, Inverter, drawn_start
from synood.benchmark.systems.ants import next_threshold
from synood.benchmark.systems.tins import WordStart
from synood.models.bundles import EMBEDDED
from synood.models.contexts import context_encoder
from synood.models.dual import DualEncoder

pytestmark = pytest.mark.numerical


@pytest.fixture(scope="module")
def stream():
    test = encoded("test", "id", CLASSES, 8, 10)
    ood = encoded("far", "far", OTHERS[2:5], 8, 11)
    rng = np.random.default_rng(12)
    ood.features[:] += (0.8 * rng.normal(size=ood.features.shape)).astype(np.float32)
    return stream_of(test, ood, 3)


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float64)


def test_oodd_is_the_share_less_the_fifth_cosine_with_what_was_least_likely(stream, monkeypatch):
    monkeypatch.setattr(oodd, "QUEUES", (12, 4))
    scorer = find_system("oodd").fit(planted_inputs(validation_ood=()), 0).scorer
    scorer.batch = 7
    images, texts = unit(stream.images.features), np.eye(DIM)[:9]
    powers = np.exp(images @ texts.T / 0.1)
    share = powers[:, :3].sum(1) / powers.sum(1)
    queue, expected = [], np.empty(len(images))
    for start in range(0, len(images), 7):
        rows = stream.order[start : start + 7]
        queue = sorted([*queue, *rows], key=lambda row: share[row])[:12]
        for row in rows:
            nearest = sorted((images[row] @ images[other] for other in queue), reverse=True)
            expected[row] = share[row] - nearest[min(5, len(queue)) - 1]
    found = scorer.score_stream(stream.images, stream.order)
    np.testing.assert_allclose(found, expected, atol=1e-5)


class Mirror:
    """Inverts an image into itself, and remembers which were asked for."""

    def __init__(self):
        self.asked = []

    def __call__(self, images):
        self.asked += [image.tobytes() for image in images]
        return images


@pytest.mark.parametrize("balanced", [False, True])
def test_labels_grow_by_texts_that_keep_away_from_the_classes(stream, balanced, monkeypatch):
    from synood.benchmark.systems import _growing

    monkeypatch.setattr(_growing, "LIMIT", 5)
    monkeypatch.setattr(_growing, "GROUPS", 3)
    rng = np.random.default_rng(0)
    classes, negatives = np.eye(DIM)[:3].astype("f4"), np.eye(DIM)[3:10].astype("f4")
    proxies = scores.normalise(classes + 0.1 * rng.normal(size=classes.shape))
    labels = ChosenLabels(classes, negatives, proxies, 0.1)
    mirror = Mirror()
    scorer = GrowingLabels(labels, mirror, 0.35, balanced=balanced)
    scorer.batch = 8
    images = unit(stream.images.features)

    def share(x, bank):
        unknown = np.concatenate([negatives, *([bank] if len(bank) else [])])
        order = scores.group_order(len(unknown), 3, 0)
        parts = []
        for group in order:
            known = np.exp(classes @ x / 0.1).sum()
            others = np.exp(unknown[group] @ x / 0.1)
            mass = 3 * others.mean() if balanced else others.sum()
            parts.append(known / (known + mass))
        return np.mean(parts)

    bank, expected, asked = [], np.empty(len(images)), 0
    own = (classes * proxies).sum(1)
    for start in range(0, len(images), 8):
        rows = stream.order[start : start + 8]
        for row in rows:
            expected[row] = share(images[row], [text for _, text in bank])
        seeming = [row for row in rows if expected[row] < 0.35]
        asked += len(seeming)
        for row in seeming:
            gaps = own - proxies @ images[row]
            if gaps.min() > 0:
                bank.append((gaps.mean(), images[row]))
        bank = sorted(bank, key=lambda pair: -pair[0])[:5]
        if seeming:
            for row in rows:
                expected[row] = share(images[row], [text for _, text in bank])
    found = scores.share(scorer.score_stream(stream.images, stream.order))
    assert len(bank) == 5
    assert len(mirror.asked) == asked > 5
    np.testing.assert_allclose(found, expected, atol=2e-5)


@pytest.fixture(scope="module")
def mini():
    return context_encoder(DualEncoder.from_pretrained(EMBEDDED["mini"] / "encoder"))


def test_each_text_may_have_vectors_of_its_own(mini):
    names = ["lamp", "horse"]
    contexts = torch.stack([mini.token_embeddings(f"a photo of a {name}") for name in names])
    found = mini.encode_with_context([".", "."], contexts)
    expected = mini.encode_texts([f"a photo of a {name} ." for name in names])
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-4)


def test_an_inversion_comes_nearer_to_its_image_whatever_its_company(mini):
    aims = scores.normalise(mini.encode_texts(["a horse on grass", "an old lamp", "the moon"]))
    none = np.zeros((0, aims.shape[1]), np.float32)
    start = drawn_start(mini)
    short, long = (Inverter(mini, Inversion(steps), start, none) for steps in (0, 10))
    before, after = (np.einsum("nd,nd->n", one(aims), aims) for one in (short, long))
    assert (after > before + 0.05).all()
    alone = Inverter(mini, Inversion(10), start, none)(aims[1:2])
    np.testing.assert_allclose(alone[0], long(aims)[1], atol=2e-3)


def test_an_inversion_is_learned_once_an_image():
    calls = []

    class Counting:
        def encode_with_context(self, texts, contexts):
            calls.append(len(texts))
            return contexts[:, -1]

        def token_embeddings(self, text):
            return torch.eye(DIM)[: len(text.split())]

    images = unit(np.random.default_rng(0).normal(size=(4, DIM))).astype("f4")
    inverter = Inverter(Counting(), Inversion(2), drawn_start(Counting()), images[:0])
    first = inverter(images[:3])
    done = len(calls)
    again = inverter(images[[2, 0]])
    assert len(calls) == done
    np.testing.assert_array_equal(again, first[[2, 0]])
    inverter(images)
    assert calls[done:] == [1, 1, 1]  # two steps and the result of the fourth image alone


def test_what_repels_keeps_the_text_away_from_the_classes(mini):
    aims = scores.normalise(mini.encode_texts(["a horse on grass", "an old lamp"]))
    classes = scores.normalise(mini.encode_texts(["a photo of a horse", "a photo of a donkey"]))
    start = drawn_start(mini)
    free = Inverter(mini, Inversion(20), start, classes)(aims)
    away = Inverter(mini, Inversion(20, repelling_weight=3.0), start, classes)(aims)
    assert ((away @ classes.T).mean(1) < (free @ classes.T).mean(1)).all()


def test_tins_starts_from_the_word_of_least_loss():
    inputs = planted_inputs()
    prompts, proxies = np.eye(DIM)[3:9].astype("f4"), np.eye(DIM)[:3].astype("f4")
    start = WordStart(inputs.encoder, OTHERS, prompts, proxies)
    image = scores.normalise(np.eye(DIM)[[5]] + 0.1)[0]
    found = start(image)
    assert found.shape[0] == len(f"{PROMPT} moor".split())
    assert found[-1].tolist() == np.eye(DIM)[5].tolist()  # "moor" is the third other name
    rng = np.random.default_rng(1)
    drawn, classes, images = (scores.normalise(rng.normal(size=(n, DIM))) for n in (6, 3, 20))
    start = WordStart(inputs.encoder, OTHERS, drawn, classes)
    begun = set()
    for image in images:
        losses = [1 - text @ image + 0.3 * np.mean(1 + classes @ text) for text in drawn]
        best = OTHERS[int(np.argmin(losses))]
        begun.add(best)
        assert start(image)[-1].tolist() == direction(best).tolist()
    assert len(begun) > 2


@settings(max_examples=50)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=60))
def test_the_next_threshold_is_the_median_of_the_low_shares(values):
    """By hand: ten bins, the end of the one before the largest change, the median below it."""
    shares = np.array(values)
    counts = [sum(1 for v in values if _bin(v) == b) for b in range(10)]
    changes = [abs(counts[b + 1] - counts[b]) for b in range(9)]
    end = np.arange(0.0, 1.1, 0.1)[changes.index(max(changes)) + 1]
    low = [v for v in values if v < end] or values
    assert next_threshold(shares) == pytest.approx(float(np.median(low)))


def _bin(value):
    edges = np.arange(0.0, 1.1, 0.1)
    return min(9, int(np.searchsorted(edges, value, side="right")) - 1)


def test_ants_adds_what_the_describer_sees_in_images_that_seem_ood(stream):
    inputs = planted_inputs(validation_ood=())
    scorer = find_system("ants").fit(inputs, 0).scorer
    scorer.batch = 24
    found = scores.share(scorer.score_stream(stream.images, stream.order))
    images, texts = unit(stream.images.features), np.eye(DIM)[:9]
    powers = np.exp(images @ texts.T / 0.1)
    base = powers[:, :3].sum(1) / powers.sum(1)
    first = stream.order[:24]
    seeming = [row for row in stream.order if base[row] < 0.8]
    assert sum(base[row] < 0.8 for row in first) <= 20 < len(seeming)
    np.testing.assert_allclose(found[first], base[first], atol=1e-5)
    seen = sorted({OTHERS[(images[row] @ texts[3:].T).argmax()] for row in seeming})
    added = np.eye(DIM)[[3 + OTHERS.index(name) for name in seen]]
    more = np.exp(images @ added.T / 0.1).sum(1)
    last = stream.order[24:]
    expected = powers[:, :3].sum(1) / (powers.sum(1) + more)
    np.testing.assert_allclose(found[last], expected[last], atol=1e-5)


def test_rows_record_order_seed_and_batch(stream):
    for name, batch in (("oodd", 64), ("interneg", 256), ("adaneg", 1)):
        scorer = find_system(name).fit(planted_inputs(validation_ood=()), 0).scorer
        assert stream.details(scorer) == {
            "order": "shuffled",
            "seed": 3,
            "images": 48,
            "batch": batch,
        }


def test_the_queue_of_oodd_is_the_best_on_validation_streams():
    chosen = find_system("oodd").fit(planted_inputs(), 0).chosen
    tried = [(trial["queue"], trial["temperature"]) for trial in chosen["tried"]]
    own = find_system("neglabel").fit(planted_inputs(), 0).chosen["temperature"]
    assert tried[0] == (2048, own)
    assert {size for size, _ in tried} == {2048, 512, 128, 32}
    assert chosen["auroc"] == max(trial["auroc"] for trial in chosen["tried"])
    blind = find_system("oodd").fit(planted_inputs(validation_ood=()), 0).chosen
    assert (blind["queue"], "tried" in blind) == (2048, False)
