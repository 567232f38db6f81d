"""A flow-matching in-painter against the pipeline of diffusers for the same files."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

import hub_cache
import tiny
from painting import PROMPTS, changes_of, generators, guide, images
from small_classifier import SmallClassifier
from small_run import run
from synood.errors import CheckpointError, InputError
from synood.models._levels import transitions
from synood.models.bundles import load_bundle
from synood.models.catalog import catalog
from synood.models.flow import FlowInpainter
from synood.models.inpainting import load_inpainter
from synood.models.prompt_limits import PromptLimits
from synood.pipeline.rundir.shards import read_synthetic
from synood.settings import GuidanceSettings
from synood.synthesis.objectives import OBJECTIVES
from tiny_flow import tiny_zimage

pytestmark = pytest.mark.numerical

SETTINGS = GuidanceSettings(
    num_inference_steps=8, guidance_scale=0.0, target=3.0, step_size=0.5, rounds=3
)
STEPS = 5  # of 8 at strength 0.6, as diffusers counts for flow matching


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return tiny_zimage(tmp_path_factory.mktemp("flow"))


@pytest.fixture(scope="module")
def inpainter(directory):
    return load_inpainter(directory, size=32)


def denoised(inpainter, pixels, prompts, seeds, strength, steps, scale):
    """Latents in the unit of the transformer, as `output_type="latent"` has them."""
    draws = generators(*seeds)
    latents, noise = inpainter.encode(pixels, draws), inpainter.draw_noise(draws)
    conditioning = inpainter.condition(prompts, draws)
    plain = inpainter.denoise(latents, noise, conditioning, strength, steps, scale, draws)
    config = inpainter._autoencoder._vae.config
    return (plain - config.shift_factor) * config.scaling_factor


def by_diffusers(directory, pixels, prompts, seeds, strength, steps, scale, output="latent"):
    import diffusers

    pipeline = diffusers.ZImageInpaintPipeline.from_pretrained(directory, low_cpu_mem_usage=False)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline(
        prompt=list(prompts),  # which the pipeline changes
        image=pixels,
        mask_image=torch.ones(len(pixels), 1, 32, 32),
        height=32,
        width=32,
        strength=strength,
        num_inference_steps=steps,
        guidance_scale=scale,
        generator=generators(*seeds),
        output_type=output,
    ).images


@pytest.mark.parametrize(
    ("strength", "steps", "scale"),
    [(0.6, 8, 0.0), (0.3, 9, 0.0), (1.0, 4, 0.0), (0.6, 8, 3.0), (0.6, 8, 0.5)],
)
def test_the_same_noise_gives_the_latents_of_diffusers(
    directory, inpainter, pixels, strength, steps, scale
):
    how = (pixels, PROMPTS, (1, 2), strength, steps, scale)
    ours, theirs = denoised(inpainter, *how), by_diffusers(directory, *how)
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)
    other = denoised(inpainter, pixels, PROMPTS[::-1], *how[2:])
    assert (other - ours).abs().max() > 1e-3  # the prompt is heard


def test_a_schedule_that_shifts_by_size_is_that_of_diffusers(tmp_path, pixels):
    directory = tiny_zimage(tmp_path, scheduler={"use_dynamic_shifting": True})
    how = (pixels, PROMPTS, (1, 2), 0.6, 8, 0.0)
    ours = denoised(load_inpainter(directory, size=32), *how)
    torch.testing.assert_close(ours, by_diffusers(directory, *how), atol=1e-5, rtol=0)


def test_an_image_comes_out_alike_in_any_batch(inpainter, pixels):
    how = ((1, 2), 0.6, 8, 2.0)
    together = denoised(inpainter, pixels, PROMPTS, *how)
    for row in range(2):
        here = slice(row, row + 1)
        alone = denoised(inpainter, pixels[here], PROMPTS[here], (row + 1,), *how[1:])
        torch.testing.assert_close(together[here], alone, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("strength", "steps"), [(0.0, 8), (1.5, 8), (0.6, 0), (1e-17, 8)])
def test_a_schedule_without_steps_is_refused(inpainter, pixels, strength, steps):
    with pytest.raises(InputError, match=r"leaves none; .* num_inference_steps must be at least 1"):
        denoised(inpainter, pixels, PROMPTS, (1, 2), strength, steps, 0.0)


@pytest.mark.parametrize("strength", [0.3, 0.6, 1.0])
def test_denoising_starts_at_the_level_that_strength_leaves(inpainter, pixels, strength):
    """x_s = (1 - s) x0 + s e, and the clean latent of the true velocity is x0."""
    import copy

    scheduler = copy.deepcopy(inpainter._scheduler)
    times = inpainter._timesteps(scheduler, 8, strength)
    assert len(times) == 8 - int(8 - 8 * strength)
    first = transitions(scheduler, times)[0].before
    assert first.noise == pytest.approx(float(times[0]) / 1000)
    draws = generators(1, 2)
    latents, noise = inpainter.encode(pixels, draws), inpainter.draw_noise(draws)
    sample = scheduler.scale_noise(latents, times[:1].repeat(2), noise)
    torch.testing.assert_close(sample, first.signal * latents + first.noise * noise)
    torch.testing.assert_close(first.clean(sample, noise - latents, "flow"), latents)


def test_unguided_it_is_what_diffusers_paints(directory, inpainter, pixels):
    plain = guide(inpainter, pixels, SETTINGS.unguided())
    still = guide(inpainter, pixels, replace(SETTINGS, method="step", mu=0.0))
    theirs = by_diffusers(directory, pixels, PROMPTS, (1, 2), 0.6, 8, 0.0, output="np")
    assert np.abs(images(plain) - theirs * 255).max() < 0.51
    assert np.array_equal(images(plain), images(still))


@pytest.mark.parametrize("method", ["rounds", "step"])
def test_both_ways_of_guiding_push_the_energy_up(inpainter, pixels, method):
    options = replace(SETTINGS, method=method, step_size=0.1)
    guided = guide(inpainter, pixels, options)
    plain = guide(inpainter, pixels, SETTINGS.unguided())
    for one, other in zip(guided, plain, strict=True):
        assert len(one.losses) == (3 if method == "rounds" else STEPS + 1)
        assert one.energies[-1] > other.energies[-1]
    for row, rendered in enumerate(guided):
        here = slice(row, row + 1)
        (alone,) = guide(inpainter, pixels[here], options, None, (row + 1,), PROMPTS[here])
        assert alone.losses == pytest.approx(rendered.losses, rel=1e-3)
        assert np.abs(alone.image.astype(int) - rendered.image).max() <= 1


def test_each_step_is_the_gradient_at_its_clean_latent(directory, pixels, monkeypatch):
    """Against central differences, and the clean latent against x_s - s v of the transformer."""
    double = FlowInpainter.from_pretrained(directory, dtype=torch.float64, size=32)
    classifier = SmallClassifier(torch.float64)
    options = replace(SETTINGS, method="step", sigma=0.0, mu=0.25)
    seen, _ = changes_of(double, pixels, options, classifier, monkeypatch)

    def loss(latents):
        with torch.no_grad():
            logits = classifier.logits(double.decode(double.unscaled(latents)))
        return OBJECTIVES["energy"](logits, options.target, 1.0)

    assert len(seen) == STEPS
    for forecast, change in seen:
        found = -change / (options.mu * forecast.weight)
        rms = found.square().mean(dim=(1, 2, 3))
        for place in (3, 250, 700):
            nudge = torch.zeros_like(change).flatten()
            nudge[place] = 1e-5
            nudge = nudge.view_as(change)
            slope = (loss(forecast.latents + nudge) - loss(forecast.latents - nudge))[0] / 2e-5
            if rms[0] < 0.999:  # the others are cut to the length of a latent
                torch.testing.assert_close(found.flatten()[place], slope, rtol=1e-4, atol=1e-6)
    assert any(
        (change / (0.25 * forecast.weight)).square().mean(dim=(1, 2, 3))[0] < 0.999
        for forecast, change in seen
    )


def test_guided_steps_paint_what_the_formulas_say(directory, inpainter, pixels):
    """x_s' = x_s + (s' - s) v + (1 - s') D0, written out with the parts of diffusers' pipeline."""
    import diffusers

    pipeline = diffusers.ZImageInpaintPipeline.from_pretrained(directory, low_cpu_mem_usage=False)
    vae, classifier, draws = pipeline.vae, SmallClassifier(), generators(1, 2)
    shift, factor = vae.config.shift_factor, vae.config.scaling_factor

    def normal():
        return torch.cat([torch.randn(1, 4, 16, 16, generator=draw) for draw in draws])

    def decoded(latents):
        return (vae.decode(latents / factor + shift).sample / 2 + 0.5).clamp(0, 1)

    with torch.no_grad():
        posterior = vae.encode(pixels * 2 - 1).latent_dist
        source = (posterior.mean + posterior.std * normal() - shift) * factor
        text, _ = pipeline.encode_prompt(list(PROMPTS), do_classifier_free_guidance=False)
    even = np.linspace(1, 1 / 8, 8)
    levels = [*(3 * even / (1 + 2 * even))[3:], 0.0]  # int(8 - 0.6 * 8) steps are skipped
    share = [(1 - s) ** 2 / ((1 - s) ** 2 + s**2) for s in levels]
    ratios = [one / other for one, other in pairwise(share)]
    x = (1 - levels[0]) * source + levels[0] * normal()
    for s, after, ratio in zip(levels, levels[1:], ratios, strict=False):
        with torch.no_grad():
            inputs = [*x.float().unsqueeze(2)]
            found = pipeline.transformer(inputs, torch.full((2,), 1 - s), text).sample
            velocity = -torch.stack(list(found)).squeeze(2)
        clean = (x - s * velocity).float().requires_grad_()
        shortfall = SETTINGS.target + classifier.logits(decoded(clean)).logsumexp(1)
        (slope,) = torch.autograd.grad(shortfall.relu().square().sum(), clean)
        rms = slope.square().mean(dim=(1, 2, 3), keepdim=True).sqrt()
        moved = -0.5 * ratio / np.mean(ratios) * slope / rms.clamp(min=1)
        x = x + (after - s) * velocity + (1 - after) * moved
    with torch.no_grad():
        expected = decoded(x.float()).permute(0, 2, 3, 1).numpy() * 255
    options = replace(SETTINGS, method="step", mu=0.5, sigma=0.0)
    ours = images(guide(inpainter, pixels, options, classifier))
    assert np.abs(ours - expected).max() < 0.6
    plain = images(guide(inpainter, pixels, SETTINGS.unguided()))
    assert np.abs(ours.astype(int) - plain).max() > 5  # so the comparison says something


# as a part of a bundle


def test_a_run_paints_with_it_in_eight_steps_without_guidance_scale(
    bundle, images, directory, tmp_path
):
    name = f"{bundle}+painter={directory}+painter.size=32"
    loaded = load_bundle(name)
    wanted = {"guidance.num_inference_steps": 8, "guidance.guidance_scale": 0.0}
    assert wanted.items() <= loaded.recipe_defaults.items()
    assert isinstance(loaded.inpainter(), FlowInpainter)
    step = ("guidance.method=step", "guidance.target=5", "guidance.num_inference_steps=8")
    run(images, name, tmp_path / "out", *step)
    made = list(read_synthetic(tmp_path / "out" / "synthesize").values())
    assert len(made) == 6
    assert all(len(image.losses) == STEPS + 1 for image in made)


def test_the_size_is_ones_choice_in_steps_of_the_model(directory):
    assert load_inpainter(directory, size=48).image_size == 48
    assert load_inpainter(directory).image_size == 512
    with pytest.raises(InputError, match=r"inpainter\.size: 30 is not a multiple of 4"):
        load_inpainter(directory, size=30)
    prints = {load_inpainter(directory, size=size).fingerprint for size in (32, 48)}
    assert len(prints) == 2


def test_a_unet_has_no_choice_of_size(tmp_path):
    with pytest.raises(InputError, match=r"inpainter\.size: .* at the size of its U-Net"):
        load_inpainter(tiny.tiny_inpainting(tmp_path), size=64)


def test_a_prompt_that_is_too_long_is_refused_and_shortened_alike(directory, inpainter):
    limits = PromptLimits.from_pretrained(directory)
    long = "a cat, " * 90
    assert limits.fits(PROMPTS[0])
    assert not limits.fits(long)
    with pytest.raises(InputError, match="tokens and the in-painting model 512"):
        inpainter.check_prompts([PROMPTS[0], long])
    inpainter.check_prompts([limits.shortened(long, lambda text: text)])


def changed(directory, tmp_path, **fields):
    copy = shutil.copytree(directory, tmp_path / "copy")
    index = json.loads((copy / "model_index.json").read_text())
    (copy / "model_index.json").write_text(json.dumps({**index, **fields}))
    return copy


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"transformer": ["diffusers", "FluxTransformer2DModel"]}, "transformer is Flux"),
        ({"text_encoder": ["transformers", "T5EncoderModel"]}, "text_encoder is T5"),
        ({"scheduler": ["diffusers", "UniPCMultistepScheduler"]}, "scheduler is UniPC"),
    ],
)
def test_a_flow_model_of_another_kind_is_refused(directory, tmp_path, fields, message):
    with pytest.raises(CheckpointError, match=rf"model_index\.json: {message}.*Z-Image"):
        load_inpainter(changed(directory, tmp_path, **fields))


def test_parts_that_do_not_belong_together_are_refused(tmp_path):
    other = tiny_zimage(tmp_path, cap_feat_dim=24)
    with pytest.raises(CheckpointError, match=r"transformer's cap_feat_dim is 24.* has 16"):
        load_inpainter(other, size=32)


def test_a_tokenizer_without_a_chat_template_is_refused(directory, tmp_path):
    copy = shutil.copytree(directory, tmp_path / "copy")
    for path in (copy / "tokenizer").glob("*"):
        if path.name == "chat_template.jinja":
            path.unlink()
    config = copy / "tokenizer" / "tokenizer_config.json"
    fields = json.loads(config.read_text())
    fields.pop("chat_template", None)
    config.write_text(json.dumps(fields))
    with pytest.raises(CheckpointError, match="tokenizer: has no chat_template"):
        load_inpainter(copy, size=32)


def test_a_tokenizer_without_its_files_is_refused(directory, tmp_path):
    copy = shutil.copytree(directory, tmp_path / "copy")
    for name in ("tokenizer.json", "vocab.json", "merges.txt"):
        (copy / "tokenizer" / name).unlink(missing_ok=True)
    with pytest.raises(CheckpointError, match="tokenizer"):
        load_inpainter(copy, size=32)


BY_ID = """
from synood.models.bundles import load_bundle
bundle = load_bundle("paper-zimage+painter.size=32")
painter, fields = bundle.inpainter(), bundle.recipe_defaults
print(type(painter).__name__, painter.image_size, fields["guidance.num_inference_steps"])
bundle.check_steerable()
print(bundle.spec["inpainter"]["revision"], bundle.prompt_limits().fits("a cat"))
"""


def test_by_its_id_it_is_loaded_from_the_cache_at_the_pinned_revision(tmp_path):
    revision = catalog()["Tongyi-MAI/Z-Image-Turbo"].revision
    place = tiny_zimage(tmp_path / "made")
    hub_cache.put(tmp_path / "cache", "Tongyi-MAI/Z-Image-Turbo", place, revision)
    offline = {"HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(
        [sys.executable, "-c", BY_ID],
        env={**os.environ, **offline},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split() == ["FlowInpainter", "32", "8", revision, "True"]
