"""Objectives by hand, the skipped gradient by finite differences, and what guidance promises."""

from __future__ import annotations

from dataclasses import replace
from math import e, log

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

import painting
import tiny
from painting import PROMPTS, generators, images
from small_classifier import SmallClassifier
from synood.errors import InputError
from synood.models.inpainting import Inpainter
from synood.settings import GuidanceSettings
from synood.synthesis.guidance import guided_inpainting
from synood.synthesis.objectives import (
    OBJECTIVES,
    energy,
    energy_hinge,
    msp_divergence,
    uniformity,
)

pytestmark = pytest.mark.numerical

OF_CLASSIFIERS = ("energy", "uniformity")  # the margin has test_margin.py
GENTLE = GuidanceSettings(
    strength=0.6, num_inference_steps=4, guidance_scale=2.0, step_size=0.5, target=3.0
)


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return tiny.tiny_inpainting(tmp_path_factory.mktemp("paint"))


@pytest.fixture(scope="module")
def inpainter(directory):
    return Inpainter.from_pretrained(directory)


def guide(inpainter, pixels, options=GENTLE, *rest, **how):
    return painting.guide(inpainter, pixels, options, *rest, **how)


# the objectives


def test_energy_by_hand():
    logits = torch.tensor([[0.0, 0.0, 0.0, 0.0], [log(2), log(3), log(4), log(1)]])
    torch.testing.assert_close(energy(logits), torch.tensor([-log(4), -log(10)]))
    torch.testing.assert_close(
        energy(torch.tensor([[2 * log(2), 2 * log(3)]]), 2.0), torch.tensor([-2 * log(5)])
    )


def test_energy_hinge_by_hand():
    logits = torch.tensor([[log(2), log(3)], [log(0.5), log(0.5)], [10.0, 10.0]])
    expected = torch.tensor([(1 + log(5)) ** 2, 1.0, (1 + 10 + log(2)) ** 2])
    torch.testing.assert_close(energy_hinge(logits, 1.0), expected)
    assert energy_hinge(logits[1:2], -0.5).item() == 0  # its energy is 0, above the margin


def test_lowering_the_hinge_raises_the_energy():
    logits = torch.tensor([[4.0, 1.0, 0.0]], requires_grad=True)
    (gradient,) = torch.autograd.grad(energy_hinge(logits, 0.0).sum(), logits)
    assert energy(logits - 0.01 * gradient) > energy(logits)


@pytest.mark.parametrize("classes", [2, 10, 1000])
def test_msp_is_one_number_and_its_gradient_is_zero(classes):
    """As the authors call torch: probabilities where logarithms belong (get_loss, "msp")."""
    drawn = torch.randn(6, classes, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    logits = (20 * drawn).requires_grad_()
    losses = msp_divergence(logits)
    expected = -(log(classes) + 1 / classes) / classes
    torch.testing.assert_close(losses, torch.full_like(losses, expected))
    (gradient,) = torch.autograd.grad(losses.sum(), logits)
    assert gradient.abs().max() < 1e-15
    shares = torch.softmax(logits, dim=1)
    whole = torch.full((classes,), 1 / classes, dtype=torch.float64)
    theirs = functional.kl_div(shares, whole, reduction="none").mean()
    torch.testing.assert_close(losses.mean(), theirs)


def test_uniformity_by_hand():
    logits = torch.tensor([[0.0, log(3)]])  # probabilities 1/4 and 3/4
    mean = (log(1 / 4) + log(3 / 4)) / 2
    torch.testing.assert_close(uniformity(logits, -5.0), torch.tensor([(-5 - mean) ** 2]))
    cooled = uniformity(logits / 3, -5.0, temperature=1 / 3)
    torch.testing.assert_close(cooled, uniformity(logits, -5.0))


def test_uniformity_is_least_at_the_uniform_prediction_of_a_thousand_classes():
    assert uniformity(torch.zeros(1, 1000)).item() == pytest.approx((log(1000) - 5) ** 2)
    assert (log(1000) - 5) ** 2 == pytest.approx(3.640, abs=1e-3)


@settings(max_examples=50)
@given(
    classes=st.integers(int(e**5) + 1, 400),
    shift=st.floats(-20, 20),
    scale=st.floats(0, 30),
    seed=st.integers(0, 2**16),
)
def test_uniformity_never_falls_below_its_bound_and_ignores_a_shift(classes, shift, scale, seed):
    draws = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(1, classes, generator=draws, dtype=torch.float64)
    loss = uniformity(logits).item()
    assert loss >= (log(classes) - 5) ** 2 - 1e-9
    assert uniformity(logits + shift).item() == pytest.approx(loss, rel=1e-9)


@settings(max_examples=50)
@given(shift=st.floats(-5, 5), temperature=st.floats(0.5, 4), seed=st.integers(0, 2**16))
def test_energy_follows_a_shift_of_the_logits(shift, temperature, seed):
    draws = torch.Generator().manual_seed(seed)
    logits = torch.randn(3, 5, generator=draws, dtype=torch.float64)
    torch.testing.assert_close(
        energy(logits + shift, temperature), energy(logits, temperature) - shift
    )


@pytest.mark.parametrize("name", OF_CLASSIFIERS)
def test_objectives_survive_huge_logits(name):
    logits = torch.tensor([[3e4, -3e4, 0.0]], requires_grad=True)
    loss = OBJECTIVES[name](logits, -5.0, 1.0)
    (gradient,) = torch.autograd.grad(loss.sum(), logits)
    assert torch.isfinite(loss).all()
    assert torch.isfinite(gradient).all()


# the gradient


@pytest.mark.parametrize("objective", OF_CLASSIFIERS)
def test_the_step_is_the_gradient_through_decoder_and_classifier(directory, pixels, objective):
    """The noise after one round, read off the in-painter, against central differences."""
    double = Inpainter.from_pretrained(directory, dtype=torch.float64)
    classifier = SmallClassifier(torch.float64)
    options = replace(GENTLE, objective=objective, rounds=2, step_size=0.25)
    noises, denoised = [], []
    original = double.denoise

    def recorded(image_latents, noise, *rest):
        noises.append(noise)
        denoised.append(original(image_latents, noise, *rest))
        return denoised[-1]

    double.denoise = recorded
    guide(double, pixels, options, classifier)
    stepped = (noises[0] - noises[1]) / options.step_size

    def loss(latents):
        with torch.no_grad():
            logits = classifier.logits(double.decode(latents))
        return OBJECTIVES[objective](logits, options.target, options.temperature)

    places = torch.randint(stepped[0].numel(), (8,), generator=torch.Generator().manual_seed(0))
    for place in places.tolist():
        nudge = torch.zeros_like(stepped[0]).flatten()
        nudge[place] = 1e-5
        nudge = nudge.view_as(stepped[0])
        slope = (loss(denoised[0] + nudge) - loss(denoised[0] - nudge)) / 2e-5
        torch.testing.assert_close(stepped.flatten(1)[:, place], slope, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("objective", OF_CLASSIFIERS)
def test_a_step_lowers_the_objective(inpainter, pixels, objective):
    options = replace(GENTLE, objective=objective, rounds=2, step_size=0.1, target=3.0)
    for rendered in guide(inpainter, pixels, options):
        assert rendered.losses[1] < rendered.losses[0]


def test_rounds_push_the_energy_up(inpainter, pixels):
    for rendered in guide(inpainter, pixels, replace(GENTLE, rounds=4, step_size=0.1)):
        assert list(rendered.energies) == sorted(rendered.energies)
        assert rendered.energies[-1] > rendered.energies[0]


def test_the_gradient_after_the_last_round_is_skipped(inpainter, pixels):
    classifier = SmallClassifier()
    guide(inpainter, pixels, replace(GENTLE, rounds=3), classifier)
    assert classifier.gradients == [False, True, True, False]  # the source, then the rounds
    assert all(weight.grad is None for weight in classifier.network.parameters())


def kept_for_the_gradient(work):
    """Bytes that autograd keeps at the most while `work` runs, counted at its own hooks."""
    held, most = {}, [0]

    class Kept:
        def __init__(self, tensor):
            self.tensor = tensor
            held[id(self)] = tensor.untyped_storage().nbytes()
            most[0] = max(most[0], sum(held.values()))

        def __del__(self):
            held.pop(id(self), None)

    with torch.autograd.graph.saved_tensors_hooks(Kept, lambda kept: kept.tensor):
        work()
    return most[0]


def noises_of(inpainter, pixels, memory, monkeypatch):
    """The noise of every round: what the gradients of the rounds before have made of it."""
    noises = []
    original = Inpainter.denoise
    with monkeypatch.context() as patch:

        def recorded(self, image_latents, noise, *rest):
            noises.append(noise.clone())
            return original(self, image_latents, noise, *rest)

        patch.setattr(Inpainter, "denoise", recorded)
        rendered = guided_inpainting(
            inpainter, SmallClassifier(), pixels, PROMPTS, GENTLE, (1, 2), memory=memory
        )
    return noises, rendered


@pytest.mark.parametrize("memory", ["slice", "checkpoint"])
def test_less_memory_gives_the_same_gradient_to_rounding(inpainter, pixels, memory, monkeypatch):
    plain, expected = noises_of(inpainter, pixels, "plain", monkeypatch)
    lean, rendered = noises_of(inpainter, pixels, memory, monkeypatch)
    moved = (plain[1] - plain[0]).abs().max()
    assert torch.equal(plain[0], lean[0])
    torch.testing.assert_close(lean[1], plain[1], atol=1e-5 * float(moved), rtol=1e-6)
    assert np.abs(images(rendered).astype(int) - images(expected)).max() <= 1


def test_each_kind_of_gradient_keeps_less_than_the_one_before(directory, pixels):
    inpainter = Inpainter.from_pretrained(directory)
    options = replace(GENTLE, rounds=2)
    kept = [
        kept_for_the_gradient(
            lambda memory=memory: guided_inpainting(
                inpainter, SmallClassifier(), pixels, PROMPTS, options, (1, 2), memory=memory
            )
        )
        for memory in ("plain", "slice", "checkpoint")
    ]
    assert kept[1] < 0.6 * kept[0]
    assert kept[2] < kept[1]


# what stays the same


def test_step_size_zero_is_plain_inpainting(inpainter, pixels):
    still = guide(inpainter, pixels, replace(GENTLE, rounds=3, step_size=0.0))
    plain = guide(inpainter, pixels, replace(GENTLE, rounds=1, step_size=7.0))
    assert np.array_equal(images(still), images(plain))
    for one, other in zip(still, plain, strict=True):
        assert one.losses == other.losses * 3
        assert one.energies == other.energies * 3
        assert one.source_energy == other.source_energy


def test_plain_inpainting_is_what_diffusers_paints(directory, inpainter, pixels):
    import diffusers

    plain = guide(inpainter, pixels, replace(GENTLE, rounds=1))
    pipeline = diffusers.StableDiffusionInpaintPipeline.from_pretrained(directory)
    pipeline.set_progress_bar_config(disable=True)
    theirs = pipeline(
        prompt=PROMPTS,
        image=pixels,
        mask_image=torch.ones(2, 1, 32, 32),
        strength=GENTLE.strength,
        num_inference_steps=GENTLE.num_inference_steps,
        guidance_scale=GENTLE.guidance_scale,
        generator=generators(1, 2),
        output_type="np",
    ).images
    assert np.abs(images(plain) - theirs * 255).max() < 0.51


def test_noise_of_a_random_scheduler_is_the_same_in_every_round(tmp_path, pixels):
    painter = Inpainter.from_pretrained(
        tiny.tiny_inpainting(tmp_path, "EulerAncestralDiscreteScheduler")
    )
    still = guide(painter, pixels, replace(GENTLE, rounds=2, step_size=0.0))
    for rendered in still:
        assert rendered.losses[0] == rendered.losses[1]


def test_an_image_comes_out_alike_in_any_batch(inpainter, pixels):
    together = guide(inpainter, pixels)
    for row, rendered in enumerate(together):
        here = slice(row, row + 1)
        (alone,) = guide(inpainter, pixels[here], seeds=(row + 1,), prompts=PROMPTS[here])
        assert alone.losses == pytest.approx(rendered.losses, rel=1e-4)
        assert alone.energies == pytest.approx(rendered.energies, rel=1e-4)
        assert alone.source_energy == pytest.approx(rendered.source_energy, rel=1e-5)
        assert np.abs(alone.image.astype(int) - rendered.image).max() <= 1


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(inpainter, pixels):
    first, again = guide(inpainter, pixels), guide(inpainter, pixels)
    other = guide(inpainter, pixels, seeds=(1, 3))
    assert np.array_equal(images(first), images(again))
    assert [one.losses for one in first] == [one.losses for one in again]
    assert np.array_equal(first[0].image, other[0].image)
    assert not np.array_equal(first[1].image, other[1].image)


def test_the_layout_of_the_pixels_in_memory_changes_no_byte(inpainter, pixels):
    as_decoded = pixels.contiguous(memory_format=torch.channels_last)
    plain, found = guide(inpainter, pixels.contiguous()), guide(inpainter, as_decoded)
    assert np.array_equal(images(plain), images(found))
    assert [one.losses for one in plain] == [one.losses for one in found]


def test_the_global_generator_is_left_alone(inpainter, pixels):
    before = torch.get_rng_state()
    guide(inpainter, pixels)
    assert torch.equal(before, torch.get_rng_state())


# what is recorded, and when it ends


def test_records_losses_and_energies_of_the_pictures(inpainter, pixels):
    classifier = SmallClassifier()
    for row, rendered in enumerate(guide(inpainter, pixels, classifier=classifier)):
        assert len(rendered.losses) == len(rendered.energies) == GENTLE.rounds
        for loss, value in zip(rendered.losses, rendered.energies, strict=True):
            assert loss == pytest.approx(max(GENTLE.target - value, 0) ** 2, rel=1e-4)
        source = energy(classifier.logits(pixels[row : row + 1])).item()
        assert rendered.source_energy == pytest.approx(source, rel=1e-5)
        shown = torch.from_numpy(rendered.image).permute(2, 0, 1)[None] / 255
        final = energy(classifier.logits(shown)).item()
        assert rendered.energies[-1] == pytest.approx(final, abs=0.02)  # rounded to bytes
        assert rendered.image.shape == (32, 32, 3)
        assert rendered.image.dtype == np.uint8
        assert rendered.stop == "rounds"


def test_an_image_on_target_is_left_alone(inpainter, pixels):
    full = guide(inpainter, pixels, replace(GENTLE, rounds=4, step_size=0.1))
    # between the two images' energies of the first round, so that one stops there
    reached, short = sorted(range(2), key=lambda row: -full[row].energies[0])
    target = (full[reached].energies[0] + full[short].energies[0]) / 2
    options = replace(GENTLE, rounds=4, step_size=0.1, target=target, stop_at_target=True)
    stopped = guide(inpainter, pixels, options)
    running = guide(inpainter, pixels, replace(options, stop_at_target=False))
    assert stopped[reached].stop == "target"
    assert stopped[reached].losses == (0.0,)
    assert len(stopped[short].losses) > 1
    assert np.abs(images(stopped).astype(int) - images(running)).max() <= 1


def test_ends_when_every_image_is_on_target(inpainter, pixels):
    calls = []
    rendered = guided_inpainting(
        inpainter,
        SmallClassifier(),
        pixels,
        PROMPTS,
        replace(GENTLE, target=-1e3, stop_at_target=True),
        (1, 2),
        progress=lambda done, total: calls.append((done, total)),
    )
    assert calls == [(1, 3)]
    assert [one.stop for one in rendered] == ["target", "target"]


def test_tells_its_progress(inpainter, pixels):
    calls = []
    guided_inpainting(
        inpainter,
        SmallClassifier(),
        pixels,
        PROMPTS,
        GENTLE,
        (1, 2),
        progress=lambda done, total: calls.append((done, total)),
    )
    assert calls == [(1, 3), (2, 3), (3, 3)]


def test_renormalising_keeps_the_deviation_of_the_noise(inpainter, pixels, monkeypatch):
    deviations = []
    original = Inpainter.denoise

    def recorded(self, image_latents, noise, *rest):
        deviations.append(noise.std(dim=(1, 2, 3)))
        return original(self, image_latents, noise, *rest)

    monkeypatch.setattr(Inpainter, "denoise", recorded)
    guide(inpainter, pixels, replace(GENTLE, step_size=2000.0, renormalise=False))
    free = list(deviations)
    deviations.clear()
    guide(inpainter, pixels, replace(GENTLE, step_size=2000.0, renormalise=True))
    assert (free[2] - free[0]).abs().min() > 0.01
    torch.testing.assert_close(deviations[2], deviations[0])


def test_conditioning_is_made_once_for_all_rounds(inpainter, pixels, monkeypatch):
    calls = []
    for name in ("condition", "encode", "draw_noise"):
        original = getattr(Inpainter, name)

        def counted(self, *arguments, _name=name, _original=original):
            calls.append(_name)
            return _original(self, *arguments)

        monkeypatch.setattr(Inpainter, name, counted)
    guide(inpainter, pixels, replace(GENTLE, rounds=4))
    assert calls.count("condition") == calls.count("encode") == 1
    assert calls.count("draw_noise") == 3  # the noise, and one for each posterior


def test_msp_guides_nothing_and_renders_the_last_round_alone(inpainter, pixels, monkeypatch):
    rendered, original = [], Inpainter.denoise

    def counted(self, *rest):
        rendered.append(len(rest[0]))
        return original(self, *rest)

    monkeypatch.setattr(Inpainter, "denoise", counted)
    by_msp = guide(inpainter, pixels, replace(GENTLE, objective="msp", step_size=1e6))
    assert rendered == [2]
    plain = guide(inpainter, pixels, replace(GENTLE, step_size=0.0, rounds=1))
    assert [a.image.tobytes() for a in by_msp] == [b.image.tobytes() for b in plain]
    assert all(len(one.losses) == 1 for one in by_msp)


def test_the_grey_image_is_drawn_anew_in_each_round_only_if_asked(inpainter, pixels, monkeypatch):
    seen, original = [], Inpainter.denoise

    def recorded(self, latents, noise, conditioning, *rest):
        seen.append(conditioning.masked_latents.clone())
        return original(self, latents, noise, conditioning, *rest)

    monkeypatch.setattr(Inpainter, "denoise", recorded)
    still = replace(GENTLE, step_size=0.0, rounds=3)
    guide(inpainter, pixels, still)
    assert torch.equal(seen[0], seen[1])
    assert torch.equal(seen[0], seen[2])
    once = seen[0]
    seen.clear()
    anew = guide(inpainter, pixels, replace(still, redraw_grey=True))
    assert torch.equal(seen[0], once)  # the first draw is the same
    assert not torch.equal(seen[1], seen[0])
    assert not torch.equal(seen[2], seen[1])
    assert not torch.equal(seen[1][0], seen[1][1])  # each image has its own
    torch.testing.assert_close(seen[2].mean((1, 2, 3)), once.mean((1, 2, 3)), atol=0.2, rtol=0)
    again = guide(inpainter, pixels, replace(still, redraw_grey=True))
    assert [a.image.tobytes() for a in anew] == [b.image.tobytes() for b in again]
    alone = guide(
        inpainter,
        pixels[1:],
        replace(still, redraw_grey=True),
        seeds=(2,),
        prompts=PROMPTS[1:],
    )
    difference = np.abs(alone[0].image.astype(int) - anew[1].image.astype(int))
    assert difference.max() <= 1  # kernels round differently in another batch
    by_msp = guide(inpainter, pixels, replace(still, redraw_grey=True, objective="msp"))
    assert [a.image.tobytes() for a in by_msp] == [b.image.tobytes() for b in anew]


# what is refused


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rounds": 0}, r"guidance\.rounds"),
        ({"temperature": 0.0}, r"guidance\.temperature"),
        ({"objective": "energie"}, "not one of energy, uniformity, margin"),
        ({"strength": 0.0}, "strength"),
    ],
)
def test_refuses_settings_out_of_range(inpainter, pixels, options, message):
    with pytest.raises(InputError, match=message):
        guide(inpainter, pixels, replace(GENTLE, **options))


def test_refuses_counts_that_do_not_fit(inpainter, pixels):
    with pytest.raises(InputError, match="2 images, 2 prompts and 3 seeds"):
        guide(inpainter, pixels, seeds=(1, 2, 3))


def test_refuses_a_prompt_that_is_too_long(inpainter, pixels):
    with pytest.raises(InputError, match="the text tower 77"):
        guide(inpainter, pixels, prompts=["cat", "cat " * 90])


def test_says_so_when_the_loss_is_not_finite(inpainter, pixels):
    class Broken(SmallClassifier):
        def logits(self, pixels):
            return functional.pad(super().logits(pixels), (0, 1), value=float("nan"))

    with pytest.raises(InputError, match=r"round 1 .* not finite"):
        guide(inpainter, pixels, classifier=Broken())


def test_of_nothing_comes_nothing(inpainter):
    assert guide(inpainter, torch.zeros(0, 3, 32, 32), seeds=(), prompts=[]) == []
