"""Test-time systems: what they remember, in which order, and that it is gone afterwards."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planted import CLASSES, DIM, OTHERS, encoded, planted_inputs
from synood import scores
from synood.benchmark.protocol.system import stream_of
from synood.benchmark.systems import find_system, tanl
from synood.benchmark.systems.adaneg import MEMORY, Memory
from synood.benchmark.systems.tanl import noise_images, otsu

pytestmark = pytest.mark.numerical

STREAMED = (
    "adaneg",
    "adaneg-released",
    "tanl",
    "tanl-released",
    "oodd",
    "interneg",
    "ants",
    "tins",
)


@pytest.fixture(scope="module")
def fitted():
    inputs = planted_inputs(validation_ood=())
    scorers = {name: find_system(name).fit(inputs, 0).scorer for name in STREAMED}
    for scorer in scorers.values():
        if getattr(scorer, "batch", 1) > 1:
            scorer.batch = 8  # a sixth of these streams
    return scorers


@pytest.fixture(scope="module")
def sets():
    """Test images, and OOD images that lie between the other names."""
    test = encoded("test", "id", CLASSES, 8, 10)
    ood = encoded("far", "far", OTHERS[2:5], 8, 11)
    rng = np.random.default_rng(12)
    ood.features[:] += (0.8 * rng.normal(size=ood.features.shape)).astype(np.float32)
    return test, ood


def test_an_inductive_system_does_not_depend_on_company(sets):
    score = find_system("neglabel").fit(planted_inputs(validation_ood=()), 0)
    test, _ = sets
    np.testing.assert_array_equal(score(test.take([5])), score(test)[[5]])


@pytest.mark.parametrize(
    ("name", "size", "beta", "batch"), [("adaneg", 10, 5.5, 1), ("adaneg-released", 9, 5.0, 8)]
)
def test_adaneg_is_what_the_formulas_say(fitted, sets, name, size, beta, batch):
    """A straight-line twin: every image in turn, every label, every stored feature."""
    stream = stream_of(*sets, 3)
    unit = stream.images.features / np.linalg.norm(stream.images.features, axis=1, keepdims=True)
    texts = np.eye(DIM)[:9]
    kept = {label: [] for label in range(9)}  # of (entropy, feature)
    expected = np.empty(len(unit))

    def share(values):
        # six negatives in five groups: the last is dropped, the others are one each
        order = scores.group_order(6, 5, 0)
        powers = np.exp(np.array(values) / 0.1)
        parts = [powers[:3].sum() / (powers[:3].sum() + powers[3:][g].sum()) for g in order]
        return np.mean(parts)

    for start in range(0, len(unit), batch):
        rows = stream.order[start : start + batch]
        for row in rows:
            x = unit[row].astype(np.float64)
            cosines = texts @ x
            static = share(cosines)
            alike = slice(0, 3) if static > 0.75 else slice(3, 9) if static < 0.25 else None
            if alike is not None:
                p = np.exp(cosines[alike] / 0.1)
                p /= p.sum()
                kept[alike.start + int(p.argmax())].append((-(p * np.log(p + 1e-8)).sum(), x))
        for row in rows:
            x, adapted = unit[row].astype(np.float64), []
            for label in range(9):
                best = sorted(kept[label], key=lambda pair: pair[0])[:size]
                parts = [texts[label], *(feature for _, feature in best)]
                proxy = sum(np.exp(-beta * (1 - part @ x)) * part for part in parts)
                adapted.append(proxy @ x / np.linalg.norm(proxy))
            expected[row] = share(adapted) + 0.1 * share(texts @ x)
    assert any(len(stored) > 3 for stored in kept.values())
    found = fitted[name].score_stream(stream.images, stream.order)
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_a_full_label_keeps_the_images_least_in_doubt():
    texts = np.eye(4, dtype=np.float32)[:2]
    memory = Memory(texts)
    doubts = np.random.default_rng(0).permutation(MEMORY + 5) / 10
    for doubt in doubts:
        memory.store(1, np.array([0, 0, 1, doubt], np.float32), float(doubt))
    image = np.array([0.6, 0.0, 0.8, 0.0], np.float32)
    found = memory.cosines(image, texts @ image)
    least = Memory(texts)
    for doubt in sorted(doubts)[:MEMORY]:
        least.store(1, np.array([0, 0, 1, doubt], np.float32), 0.0)
    np.testing.assert_allclose(found, least.cosines(image, texts @ image), rtol=1e-6)
    assert found[0] == pytest.approx(0.6)  # nothing was stored there


def within(values, threshold):
    """The mean variance of the two sides, as the authors weigh them."""
    sides = [[v for v in values if v >= threshold], [v for v in values if v < threshold]]
    if not all(sides):
        return np.inf
    return sum(len(side) / len(values) * np.var(side) for side in sides)


@given(st.lists(st.integers(0, 999).map(lambda n: n / 999), min_size=2, max_size=30))
@settings(max_examples=60)
def test_the_threshold_is_one_of_least_variance(values):
    found = otsu(values)
    if max(values) >= 0.01 and within(values, found) < np.inf:
        best = min(within(values, t / 100) for t in range(100))
        assert within(values, found) == pytest.approx(best, abs=1e-9)
    else:
        assert all(within(values, t / 100) == np.inf for t in range(100))


@pytest.mark.parametrize(
    ("name", "lasting", "batch"), [("tanl", 0.95, 1), ("tanl-released", 0.0, 8)]
)
def test_tanl_is_what_the_formulas_say(sets, monkeypatch, name, lasting, batch):
    """A straight-line twin, with queues and picks small enough to be full."""
    monkeypatch.setattr(tanl, "QUEUE", 5)
    monkeypatch.setattr(tanl, "PICKED", 4)
    inputs = planted_inputs(validation_ood=())
    scorer = find_system(name).fit(inputs, 0).scorer
    assert scorer.batch == (1 if name == "tanl" else 256)
    scorer.batch = batch
    stream = stream_of(*sets, 3)
    texts = np.eye(DIM)[:9]

    def unit(rows):
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float64)

    def activation(x):
        powers = np.exp(texts @ x / 0.1)
        return (powers / powers.sum())[3:]

    def share(x, labels):
        powers = np.exp(texts @ x / 0.1)
        return np.mean(
            [
                powers[:3].sum() / (powers[:3].sum() + powers[3:][labels[:m]].sum())
                for m in range(1, 5)
            ]
        )

    def best(inside, beyond):
        return np.argsort(inside - beyond, kind="stable")[:4]

    encoder = inputs.encoder
    noise = unit(encoder.encode_images(noise_images(encoder.image_size, 0)))
    names = texts[:3][np.random.default_rng(0).permutation(3)]
    known = [activation(x) for x in names]
    unknown = [activation(x) for x in noise][-5:]
    start = best(np.mean(known, 0), np.mean(unknown, 0))
    seen = [share(x, start) for x in (*names, *noise)]
    expected = np.empty(len(stream.images))
    for start in range(0, len(expected), batch):
        rows = stream.order[start : start + batch]
        xs = unit(stream.images.features)[rows]
        inside, beyond = np.mean(known[-5:], 0), np.mean(unknown[-5:], 0)
        picked = best(inside, beyond)
        first = [share(x, picked) for x in xs]
        seen += first
        threshold = otsu(seen)
        sure = [
            activation(x)
            for x, s in zip(xs, first, strict=True)
            if s > threshold + 0.5 * (1 - threshold)
        ]
        other = [activation(x) for x, s in zip(xs, first, strict=True) if s < 0.5 * threshold]
        if sure:
            inside = lasting * inside + (1 - lasting) * np.mean(sure, 0)
            known += sure
        if other:
            beyond = lasting * beyond + (1 - lasting) * np.mean(other, 0)
            unknown += other
        expected[rows] = [share(x, best(inside, beyond)) for x in xs]
    assert min(len(known), len(unknown)) > 6
    np.testing.assert_allclose(
        scorer.score_stream(stream.images, stream.order), expected, atol=1e-4
    )


def test_noise_is_of_five_kinds_that_fill_the_range():
    images = noise_images(16, 0)
    assert len(images) == 15
    assert len({image.tobytes() for image in images}) == 15
    assert all(image.size == (16, 16) for image in images)
    for kind in range(0, 15, 3):
        values = np.concatenate([np.asarray(one).ravel() for one in images[kind : kind + 3]])
        assert (values.min(), values.max()) == (0, 255)


def test_without_validation_ood_the_published_settings_are_kept():
    chosen = find_system("adaneg").fit(planted_inputs(validation_ood=()), 0).chosen
    assert chosen == {"negatives": 6, "groups": 5}
    assert find_system("adaneg").fit(planted_inputs(), 0).chosen["tried"]
