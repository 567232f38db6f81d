"""The tuned projection equals a straight-line twin, learns from both starts, and repeats."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load, save
from torch import nn

from synood.errors import InputError
from synood.settings import ProjectionSettings
from synood.tuning.loop import cosine_rate, epoch_count
from synood.tuning.projection import Projection, tune_projection

pytestmark = pytest.mark.numerical

C, M, D = 5, 7, 24
SETTINGS = ProjectionSettings(epochs=3, batch_size=32)


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def planted(seed=0, per_text=20):
    """Texts close to each other, as CLIP's are, and images near their own but pushed aside.

    The push is one for all in-distribution and another for all synthetic images, so tuning can
    undo it. Returns in-distribution features and targets, synthetic ones, class and negative
    features.
    """
    rng = np.random.default_rng(seed)
    texts = unit(0.3 * rng.normal(size=D) + 0.06 * rng.normal(size=(C + M, D)))
    own = np.repeat(np.arange(C + M), per_text)
    ids = own < C
    push = 0.1 * rng.normal(size=(2, D))[ids.astype(int)]
    images = 5 * (texts[own] + push + 0.05 * rng.normal(size=(len(own), D)))
    images, texts = images.astype(np.float32), texts.astype(np.float32)
    return images[ids], own[ids], images[~ids], own[~ids] - C, texts[:C], texts[C:]


def straight_line(data, epochs, batch_size, seed, start):
    """The method on one page with torch's own modules: returns (weight, bias, gain, shift)."""
    x_id, y_id, x_syn, y_syn, classes, negatives = data
    x = torch.tensor(np.concatenate([x_id, x_syn]))
    y = torch.tensor(np.concatenate([y_id, y_syn + len(classes)]))
    texts = torch.tensor(np.concatenate([classes, negatives]))
    texts = nn.functional.normalize(texts)
    linear, norm = nn.Linear(D, D), nn.LayerNorm(D)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in linear.parameters():
            parameter.uniform_(-(D**-0.5), D**-0.5, generator=generator)
        norm.weight.fill_(float(start == "random"))
    parameters = [*linear.parameters(), *norm.parameters()]
    adam = torch.optim.Adam(parameters, lr=1e-3, weight_decay=1e-5)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(adam, epochs, 1e-5)
    rng = np.random.default_rng(seed)
    for _ in range(epochs):
        order = rng.permutation(len(x))
        for first in range(0, len(x), batch_size):
            rows = order[first : first + batch_size]
            residual = norm(linear(x[rows]))
            z = x[rows] + torch.where(residual >= 0, residual, 0.0)
            cosines = nn.functional.normalize(z) @ texts.T
            loss = nn.functional.cross_entropy(100 * cosines, y[rows])
            adam.zero_grad()
            loss.backward()
            adam.step()
        schedule.step()
    return [parameter.detach().numpy() for parameter in parameters]


def loss_of(projection, data):
    x_id, y_id, x_syn, y_syn, classes, negatives = data
    z = projection.apply(np.concatenate([x_id, x_syn])).astype(float)
    texts = np.concatenate([classes, negatives]).astype(float)
    logits = 100 * (z / np.linalg.norm(z, axis=1, keepdims=True)) @ texts.T
    own = logits[np.arange(len(z)), np.concatenate([y_id, y_syn + C])]
    return float((np.log(np.exp(logits).sum(axis=1)) - own).mean())


def arrays_of(projection):
    return [getattr(projection, n) for n in ("weight", "bias", "norm_weight", "norm_bias")]


@pytest.mark.parametrize("start", ["random", "identity"])
@pytest.mark.parametrize(("epochs", "batch_size"), [(1, 240), (3, 32), (4, 7)])
def test_equals_the_straight_line_twin(start, epochs, batch_size):
    data = planted()
    settings = ProjectionSettings(epochs=epochs, batch_size=batch_size, start=start)

    tuned = tune_projection(*data, settings, seed=3)

    twin = straight_line(data, epochs, batch_size, 3, start)
    for ours, theirs in zip(arrays_of(tuned), twin, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6)
    expected = unit(Projection(*twin).apply(data[0]))
    np.testing.assert_allclose(unit(tuned.apply(data[0])), expected, rtol=0, atol=1e-6)


def test_without_synthetic_images_all_labels_still_compete():
    ids, own, synthetic, theirs, classes, negatives = planted()
    settings = ProjectionSettings(epochs=2, batch_size=16)
    made = tune_projection(ids, own, synthetic[:0], theirs[:0], classes, negatives, settings, 3)
    data = ids, own, synthetic[:0], theirs[:0], classes, negatives
    for mine, twin in zip(arrays_of(made), straight_line(data, 2, 16, 3, "random"), strict=True):
        np.testing.assert_allclose(mine, twin, rtol=0, atol=1e-6)
    fewer = tune_projection(ids, own, synthetic[:0], [], classes, negatives[:1], settings, 3)
    assert not np.array_equal(made.weight, fewer.weight)


@pytest.mark.parametrize("dim", [24, 512])
def test_numpy_apply_equals_the_torch_modules(dim):
    generator = torch.Generator().manual_seed(0)
    linear, norm = nn.Linear(dim, dim), nn.LayerNorm(dim)
    with torch.no_grad():
        for parameter in (*linear.parameters(), norm.bias):
            parameter.uniform_(-(dim**-0.5), dim**-0.5, generator=generator)
        norm.weight.uniform_(-0.5, 1.5, generator=generator)
    features = torch.randn(200, dim, generator=generator) / 2
    with torch.no_grad():
        expected = (features + torch.relu(norm(linear(features)))).numpy()

    parameters = [p.detach().numpy() for p in (*linear.parameters(), *norm.parameters())]
    found = Projection(*parameters).apply(features.numpy())

    assert found.dtype == np.float32
    assert np.abs(found - expected).max() < 1e-6 * np.abs(expected).max()
    assert np.abs(unit(found) - unit(expected)).max() < 1e-6


def test_random_start_is_torchs_and_far_from_the_identity():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(11)
        linear = nn.Linear(D, D)  # draws weight, then bias, from the global generator

    start = tune_projection(*planted(), replace(SETTINGS, epochs=0), seed=11)

    np.testing.assert_allclose(start.weight, linear.weight.detach().numpy(), atol=1e-7)
    np.testing.assert_allclose(start.bias, linear.bias.detach().numpy(), atol=1e-7)
    features = planted()[0]
    residual = np.linalg.norm(start.apply(features) - features, axis=1)
    assert residual.mean() == pytest.approx(np.sqrt(D / 2), rel=0.1)


def test_identity_start_changes_no_bit():
    settings = replace(SETTINGS, epochs=0, start="identity")
    features = planted()[0]

    start = tune_projection(*planted(), settings, seed=0)

    assert start.apply(features).tobytes() == features.tobytes()


def test_identity_start_is_not_dead():
    data = planted()
    settings = replace(SETTINGS, start="identity", epochs=1, batch_size=240)
    one = tune_projection(*data, settings, seed=0)
    two = tune_projection(*data, replace(settings, epochs=2, final_learning_rate=1e-3), seed=0)

    # One step reaches gain and bias of every unit, the next the weights of those that are wanted.
    assert (one.norm_weight != 0).all()
    assert (one.norm_bias != 0).all()
    wanted = (one.apply(data[0]) > data[0]).any(axis=0)
    assert wanted.mean() > 0.25
    assert (np.abs(two.weight - one.weight)[wanted].max(axis=1) > 1e-4).all()


@pytest.mark.parametrize(
    ("start", "rate"), [("random", 1e-3), ("identity", 1e-3), ("identity", 5e-3)]
)
def test_the_loss_goes_down_epoch_by_epoch(start, rate):
    data = planted()
    settings = replace(SETTINGS, epochs=10, start=start, learning_rate=rate)
    begin = tune_projection(*data, replace(settings, epochs=0), seed=0)
    losses = [loss_of(begin, data)]

    tune_projection(
        *data, settings, seed=0, validate=lambda tuned, _: losses.append(loss_of(tuned, data))
    )

    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < (0.7 if rate > 1e-3 or start == "random" else 0.9) * losses[0]


def test_unseen_images_find_their_text_more_often():
    data, unseen = planted(per_text=40), planted(per_text=60)
    tuned = tune_projection(*data, replace(SETTINGS, min_steps=150), seed=0)
    images, texts = np.concatenate([unseen[0], unseen[2]]), np.concatenate(data[4:])
    own = np.concatenate([unseen[1], unseen[3] + C])

    def accuracy(features):
        return ((features @ texts.T).argmax(axis=1) == own).mean()

    assert accuracy(unit(tuned.apply(images))) > accuracy(images) + 0.05


def test_same_seed_same_bytes_and_no_global_randomness():
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    first = tune_projection(*planted(), SETTINGS, seed=5)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1] == before[1]).all()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(99)
        again = tune_projection(*planted(), SETTINGS, seed=5)
    other = tune_projection(*planted(), SETTINGS, seed=6)

    assert [a.tobytes() for a in arrays_of(first)] == [a.tobytes() for a in arrays_of(again)]
    assert first.weight.tobytes() != other.weight.tobytes()


def test_arguments_are_left_as_they_are():
    data = planted()
    copies = [array.copy() for array in data]
    for array in data:
        array.setflags(write=False)

    tune_projection(*data, SETTINGS, seed=0)

    assert all((a == b).all() for a, b in zip(data, copies, strict=True))


def test_progress_counts_every_step_and_validation_every_epoch():
    steps, epochs = [], []
    tune_projection(
        *planted(),
        replace(SETTINGS, epochs=2, min_steps=25),
        seed=0,
        validate=lambda projection, epoch: epochs.append((epoch, type(projection))),
        callback=lambda step, total, loss: steps.append((step, total, loss)),
    )

    # 240 images in batches of 32 are 8 steps an epoch: 25 steps need 4 epochs, not 2.
    assert [step for step, _, _ in steps] == list(range(1, 33))
    assert {total for _, total, _ in steps} == {32}
    assert all(np.isfinite(loss) for _, _, loss in steps)
    assert epochs == [(epoch, Projection) for epoch in (1, 2, 3, 4)]


@given(st.integers(1, 5000), st.integers(1, 300), st.integers(0, 9), st.integers(1, 2000))
def test_epochs_are_added_until_the_steps_suffice_and_no_more(rows, batch, epochs, least):
    settings = ProjectionSettings(epochs=epochs, batch_size=batch, min_steps=least)
    per_epoch = len(range(0, rows, batch))

    found = epoch_count(rows, settings)

    assert found >= epochs
    assert found * per_epoch >= least
    assert found == epochs or (found - 1) * per_epoch < least
    assert epoch_count(rows, replace(settings, min_steps=None)) == epochs


def test_rates_are_those_of_the_released_code():
    rates = [cosine_rate(epoch, 3, ProjectionSettings()) for epoch in range(3)]

    assert rates == pytest.approx([1e-3, 7.525e-4, 2.575e-4], rel=1e-12)


def test_projection_survives_a_safetensors_file():
    tuned = tune_projection(*planted(), SETTINGS, seed=0)

    again = Projection.from_tensors(load(save(tuned.to_tensors())))

    assert [a.tobytes() for a in arrays_of(tuned)] == [a.tobytes() for a in arrays_of(again)]
    assert again.eps == tuned.eps == 1e-5


def test_a_projection_with_a_wrong_array_is_refused():
    tensors = tune_projection(*planted(), replace(SETTINGS, epochs=0), seed=0).to_tensors()

    with pytest.raises(InputError, match="norm_bias is missing"):
        Projection.from_tensors({k: v for k, v in tensors.items() if k != "norm_bias"})
    with pytest.raises(InputError, match=r"weight should be finite float32 \(24, 24\)"):
        Projection.from_tensors({**tensors, "weight": tensors["weight"][:, 1:]})
    with pytest.raises(InputError, match="bias should be finite"):
        Projection.from_tensors({**tensors, "bias": tensors["bias"] * np.float32(np.nan)})


@pytest.mark.parametrize(
    ("place", "change", "message"),
    [
        (0, lambda a: a[:, 1:], "in-distribution features: need shape"),
        (0, lambda a: a * np.nan, "in-distribution features: .* not finite"),
        (1, lambda a: a + 1, "in-distribution targets: 1 to 5 do not all name one of 5"),
        (1, lambda a: a[1:], "in-distribution targets: need one for each of 100"),
        (2, lambda a: a[:, 1:], "synthetic features: need shape"),
        (3, lambda a: a - 1, "synthetic targets: -1 to 5"),
        (5, lambda a: a[:3], "synthetic targets: 0 to 6 do not all name one of 3"),
    ],
)
def test_arrays_that_do_not_fit_are_named(place, change, message):
    data = list(planted())
    data[place] = change(data[place])

    with pytest.raises(InputError, match=message):
        tune_projection(*data, SETTINGS, seed=0)


def test_a_rate_that_blows_up_is_said_so():
    with pytest.raises(InputError, match="lower the learning_rate"):
        tune_projection(*planted(), replace(SETTINGS, learning_rate=1e25), seed=0)


def test_importing_loads_no_torch():
    code = (
        "import sys; import synood.tuning.projection, synood.tuning.negatives, "
        "synood.tuning.assignment, synood.images.selection; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
