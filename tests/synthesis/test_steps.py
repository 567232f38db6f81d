"""Guidance in each denoising step: its gradient, a twin in plain formulas, cost and promises."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

import painting
import tiny
from painting import PROMPTS, changes_of, generators, images
from small_classifier import SmallClassifier
from synood.errors import InputError
from synood.models.guide import MarginGuide
from synood.models.inpainting import Inpainter
from synood.settings import GuidanceSettings
from synood.synthesis._steps import clipped
from synood.synthesis.objectives import OBJECTIVES

pytestmark = [
    pytest.mark.numerical,
    pytest.mark.filterwarnings("ignore:__array__ implementation"),  # in diffusers' schedulers
]

GENTLE = GuidanceSettings(
    method="step", strength=0.6, num_inference_steps=8, guidance_scale=2.0, mu=0.5, target=3.0
)
STEPS = 4  # int(0.6 * 8)
SCHEDULERS = (
    "DDIMScheduler",
    "PNDMScheduler",
    "DPMSolverMultistepScheduler",
    "EulerDiscreteScheduler",
    "EulerAncestralDiscreteScheduler",
    "LCMScheduler",
)


def guide(inpainter, pixels, options=GENTLE, *rest, **how):
    return painting.guide(inpainter, pixels, options, *rest, **how)


def with_scheduler(directory, place, name):
    """The same weights under another scheduler."""
    import shutil

    copy = shutil.copytree(directory, place)
    tiny.tiny_scheduler(copy / "scheduler", name, "epsilon", {})
    index = json.loads((copy / "model_index.json").read_text())
    tiny.write_json(copy / "model_index.json", {**index, "scheduler": ["diffusers", name]})
    return Inpainter.from_pretrained(copy)


# the gradient


@pytest.mark.parametrize("objective", ["energy", "uniformity"])
def test_each_step_is_the_gradient_at_its_clean_latent(directory, pixels, objective, monkeypatch):
    """The change of every step against central differences, through decoder and classifier."""
    double = Inpainter.from_pretrained(directory, dtype=torch.float64)
    classifier = SmallClassifier(torch.float64)
    options = replace(GENTLE, objective=objective, sigma=0.0, mu=0.25)
    seen, _ = changes_of(double, pixels, options, classifier, monkeypatch)
    assert len(seen) == STEPS

    def loss(latents):
        with torch.no_grad():
            logits = classifier.logits(double.decode(double.unscaled(latents)))
        return OBJECTIVES[objective](logits, options.target, options.temperature)

    places = torch.randint(seen[0][1][0].numel(), (6,), generator=torch.Generator().manual_seed(0))
    for forecast, change in seen:
        found = -change / (options.mu * forecast.weight)
        assert found.square().mean(dim=(1, 2, 3)).max() < 1  # so nothing was cut off
        for place in places.tolist():
            nudge = torch.zeros_like(change).flatten()
            nudge[place] = 1e-5
            nudge = nudge.view_as(change)
            nudged = (loss(forecast.latents + nudge), loss(forecast.latents - nudge))
            slope = (nudged[0] - nudged[1])[0] / 2e-5
            torch.testing.assert_close(found.flatten()[place], slope, rtol=1e-4, atol=1e-6)


def test_a_gradient_is_cut_to_the_length_of_a_latent_and_a_short_one_left():
    draws = torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    unit = draws / draws.square().mean(dim=(1, 2, 3), keepdim=True).sqrt()
    sizes = torch.tensor([0.3, 1.0, 50.0]).view(3, 1, 1, 1)
    expected = unit * sizes.clamp(max=1)
    torch.testing.assert_close(clipped(unit * sizes), expected)
    assert not clipped(torch.zeros(1, 4, 8, 8)).any()


def test_paints_what_the_formulas_say(directory, inpainter, pixels, monkeypatch):
    """A twin of DDIM and GOOD's term written out, with the parts of diffusers' own pipeline."""
    import diffusers

    classifier = SmallClassifier()
    options = replace(GENTLE, guidance_scale=1.0, sigma=0.0)
    pipeline = diffusers.StableDiffusionInpaintPipeline.from_pretrained(directory)
    unet, vae, factor = pipeline.unet, pipeline.vae, pipeline.vae.config.scaling_factor
    draws = generators(1, 2)

    def encoded(x):
        posterior = vae.encode(x).latent_dist
        noise = torch.cat([torch.randn(1, 4, 16, 16, generator=one) for one in draws])
        return (posterior.mean + posterior.std * noise) * factor

    with torch.no_grad():
        source = encoded(pixels * 2 - 1)
        noise = torch.cat([torch.randn(1, 4, 16, 16, generator=one) for one in draws])
        ids = pipeline.tokenizer(PROMPTS, padding="max_length", max_length=77, return_tensors="pt")
        text = pipeline.text_encoder(ids.input_ids)[0]
        grey = encoded(torch.zeros(2, 3, 32, 32))
    abar = np.cumprod(1 - np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2)
    times = [376, 251, 126, 1]
    ratios = [abar[t] / abar[max(t - 125, 0)] for t in times]
    x = abar[376] ** 0.5 * source + (1 - abar[376]) ** 0.5 * noise
    for t, ratio in zip(times, ratios, strict=True):
        with torch.no_grad():
            shown = torch.cat([x, torch.ones(2, 1, 16, 16), grey], dim=1).float()
            e = unet(shown, t, encoder_hidden_states=text).sample
        a, b = abar[t], abar[max(t - 125, 0)]
        clean = ((x - (1 - a) ** 0.5 * e) / a**0.5).float().requires_grad_()
        decoded = (vae.decode(clean / factor).sample / 2 + 0.5).clamp(0, 1)
        shortfall = 3.0 + classifier.logits(decoded).logsumexp(1)
        (slope,) = torch.autograd.grad(shortfall.relu().square().sum(), clean)
        rms = slope.square().mean(dim=(1, 2, 3), keepdim=True).sqrt()
        moved = -0.5 * ratio / np.mean(ratios) * slope / rms.clamp(min=1)
        x = b**0.5 * (clean.detach() + moved) + (1 - b) ** 0.5 * e
    with torch.no_grad():
        expected = (vae.decode(x.float() / factor).sample / 2 + 0.5).clamp(0, 1)
    found = images(guide(inpainter, pixels, options, classifier))
    theirs = expected.permute(0, 2, 3, 1).numpy() * 255
    assert np.abs(found - theirs).max() < 0.6
    plain = images(guide(inpainter, pixels, replace(options, mu=0.0), classifier))
    assert np.abs(found.astype(int) - plain).max() > 5  # so the comparison says something


@pytest.mark.parametrize("name", SCHEDULERS)
def test_guided_steps_end_further_out_than_unguided_ones(directory, tmp_path, pixels, name):
    painter = with_scheduler(directory, tmp_path / "copy", name)
    guided = guide(painter, pixels)
    plain = guide(painter, pixels, replace(GENTLE, mu=0.0))
    for one, other in zip(guided, plain, strict=True):
        assert len(one.losses) == len(one.energies) == STEPS + 1
        assert one.energies[-1] > other.energies[-1]
        assert one.losses[-1] < other.losses[-1]
        assert one.stop == "steps"


def test_the_margin_guides_steps_too(inpainter, pixels, bundle):
    from synood.models.bundles import load_bundle

    encoder = load_bundle(bundle).encoder()
    rows = functional.normalize(
        torch.randn(6, encoder.dim, generator=torch.Generator().manual_seed(0)), dim=1
    ).numpy()
    margin = MarginGuide(encoder, rows[:2], rows[2:], 0.05)
    options = replace(GENTLE, objective="margin", target=20.0)
    guided = guide(inpainter, pixels, options, margin)
    plain = guide(inpainter, pixels, replace(options, mu=0.0), margin)
    for one, other in zip(guided, plain, strict=True):
        assert one.energies[-1] > other.energies[-1]


# what it costs


def counted(inpainter, monkeypatch, work):
    """Calls of the U-Net, and of the decoder with and without a gradient."""
    calls = {"unet": 0, "decoder": 0, "gradient": 0}
    decode = Inpainter.decode

    def noted(self, latents, **options):
        calls["gradient" if latents.requires_grad else "decoder"] += 1
        return decode(self, latents, **options)

    def count(*_):
        calls["unet"] += 1

    hook = inpainter._network.register_forward_hook(count)
    with monkeypatch.context() as patch:
        patch.setattr(Inpainter, "decode", noted)
        work()
    hook.remove()
    return calls["unet"], calls["decoder"], calls["gradient"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, (STEPS, 1, STEPS)),
        ({"guided_steps": 1}, (STEPS, 1, 1)),
        ({"guided_steps": 3}, (STEPS, 1, 3)),
        ({"mu": 0.0}, (STEPS, 1, 0)),
        ({"method": "rounds", "rounds": 1}, (STEPS, 1, 0)),
        ({"method": "rounds", "rounds": 3}, (3 * STEPS, 1, 2)),
    ],
)
def test_one_rendering_costs_the_unets_calls_of_one(
    inpainter, pixels, monkeypatch, options, expected
):
    settings = replace(GENTLE, **options)
    assert counted(inpainter, monkeypatch, lambda: guide(inpainter, pixels, settings)) == expected


def test_an_image_on_target_costs_no_further_decoding(inpainter, pixels, monkeypatch):
    options = replace(GENTLE, target=-1e3, stop_at_target=True)
    found = counted(inpainter, monkeypatch, lambda: guide(inpainter, pixels, options))
    assert found == (STEPS, 1, 1)


# what stays the same


@pytest.mark.parametrize("name", SCHEDULERS)
def test_mu_zero_is_plain_inpainting_to_the_bit(directory, tmp_path, pixels, name):
    painter = with_scheduler(directory, tmp_path / "copy", name)
    plain = guide(painter, pixels, replace(GENTLE, method="rounds", rounds=1))
    still = guide(painter, pixels, replace(GENTLE, mu=0.0))
    beyond = guide(painter, pixels, replace(GENTLE, target=-1e3))  # judged, but with no gradient
    assert np.array_equal(images(still), images(plain))
    assert np.array_equal(images(beyond), images(plain))
    assert [one.energies for one in still] == [one.energies for one in plain]
    assert [one.losses for one in beyond] == [(0.0,) * (STEPS + 1)] * 2
    assert not np.array_equal(images(guide(painter, pixels)), images(plain))


@pytest.mark.parametrize("name", ["DDIMScheduler", "LCMScheduler"])
def test_an_image_comes_out_alike_in_any_batch(directory, tmp_path, pixels, name):
    painter = with_scheduler(directory, tmp_path / "copy", name)
    together = guide(painter, pixels)
    for row, rendered in enumerate(together):
        here = slice(row, row + 1)
        (alone,) = guide(painter, pixels[here], seeds=(row + 1,), prompts=PROMPTS[here])
        assert alone.losses == pytest.approx(rendered.losses, rel=1e-3)
        assert alone.energies == pytest.approx(rendered.energies, rel=1e-3)
        assert np.abs(alone.image.astype(int) - rendered.image).max() <= 1


def test_an_image_that_stops_leaves_the_others_as_they_are(inpainter, pixels):
    """Also their noise: each image draws its own."""
    full = guide(inpainter, pixels)
    order = sorted(range(2), key=lambda row: -full[row].energies[0])
    reached, short = order
    target = (full[reached].energies[0] + full[short].energies[0]) / 2
    options = replace(GENTLE, target=target, stop_at_target=True)
    stopped = guide(inpainter, pixels, options)
    assert stopped[reached].stop == "target"
    assert len(stopped[reached].losses) == 2  # at the step that ended it, and of the image
    assert stopped[reached].losses[0] == 0
    here = slice(short, short + 1)
    (alone,) = guide(inpainter, pixels[here], options, seeds=(short + 1,), prompts=PROMPTS[here])
    assert alone.losses == pytest.approx(stopped[short].losses, rel=1e-3, abs=1e-5)
    assert np.abs(alone.image.astype(int) - stopped[short].image).max() <= 1


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(inpainter, pixels):
    first, again = guide(inpainter, pixels), guide(inpainter, pixels)
    other = guide(inpainter, pixels, seeds=(1, 3))
    assert np.array_equal(images(first), images(again))
    assert [one.losses for one in first] == [one.losses for one in again]
    assert np.array_equal(first[0].image, other[0].image)
    assert not np.array_equal(first[1].image, other[1].image)


@pytest.mark.parametrize("memory", ["slice", "checkpoint"])
def test_less_memory_gives_the_same_changes_to_rounding(inpainter, pixels, memory, monkeypatch):
    plain, expected = changes_of(inpainter, pixels, GENTLE, None, monkeypatch)
    lean, rendered = changes_of(inpainter, pixels, GENTLE, None, monkeypatch, memory=memory)
    for (_, one), (_, other) in zip(plain, lean, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4 * float(one.abs().max()), rtol=1e-4)
    assert np.abs(images(rendered).astype(int) - images(expected)).max() <= 1


def test_noise_on_what_is_judged_grows_with_the_noise_that_is_left(inpainter, pixels, monkeypatch):
    shown = []
    original = Inpainter.unscaled
    monkeypatch.setattr(
        Inpainter,
        "unscaled",
        lambda self, latents: shown.append(latents) or original(self, latents),
    )
    seen, _ = changes_of(inpainter, pixels, replace(GENTLE, sigma=0.2), None, monkeypatch)
    for (forecast, _), judged in zip(seen, shown[:-1], strict=True):
        noise = judged.detach() - forecast.latents
        assert float(noise.std()) == pytest.approx(0.2 * forecast.noise, rel=0.1)
    noises = [forecast.noise for forecast, _ in seen]
    assert noises == sorted(noises, reverse=True)


def test_only_the_last_steps_are_guided_if_asked(inpainter, pixels, monkeypatch):
    seen, rendered = changes_of(
        inpainter, pixels, replace(GENTLE, guided_steps=1), None, monkeypatch
    )
    assert [change is None for _, change in seen] == [True, True, True, False]
    assert all(len(one.losses) == 2 for one in rendered)


def test_the_global_generator_is_left_alone(inpainter, pixels):
    before = torch.get_rng_state()
    guide(inpainter, pixels)
    assert torch.equal(before, torch.get_rng_state())


def test_tells_its_progress(inpainter, pixels):
    calls = []
    guide(inpainter, pixels, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(1, 4), (2, 4), (3, 4), (4, 4)]


# what is refused


def test_a_scheduler_whose_steps_are_not_known_is_refused_by_name(directory, tmp_path, pixels):
    painter = with_scheduler(directory, tmp_path / "copy", "UniPCMultistepScheduler")
    with pytest.raises(InputError, match=r"guidance\.method: 'step' cannot .* UniPCMultistep"):
        guide(painter, pixels)
    guide(painter, pixels, replace(GENTLE, method="rounds", rounds=1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "steps"}, r"guidance\.method `steps` is not one of rounds, step"),
        ({"guided_steps": 0}, r"guidance\.guided_steps is 0"),
    ],
)
def test_refuses_settings_out_of_range(inpainter, pixels, options, message):
    with pytest.raises(InputError, match=message):
        guide(inpainter, pixels, replace(GENTLE, **options))


def test_says_so_when_the_loss_is_not_finite(inpainter, pixels):
    class Broken(SmallClassifier):
        def logits(self, pixels):
            return functional.pad(super().logits(pixels), (0, 1), value=float("nan"))

    with pytest.raises(InputError, match=r"step 1 .* not finite; lower guidance\.mu"):
        guide(inpainter, pixels, classifier=Broken())
