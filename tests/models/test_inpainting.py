"""The in-painter against diffusers' own pipeline, its checks, and batches against single images."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

import tiny
from painting import PROMPTS, generators, paint, paint_with_diffusers
from synood.errors import CheckpointError, InputError
from synood.models.inpainting import Inpainter

pytestmark = pytest.mark.numerical

SCHEDULERS = ("DDIMScheduler", "PNDMScheduler", "DPMSolverMultistepScheduler")
CHANNEL_STATISTICS = {
    "latents_mean": [0.3, -0.2, 0.1, 0.5],
    "latents_std": [1.5, 0.7, 1.1, 0.9],
    "scaling_factor": 0.9,
}


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """Builds each variant of the tiny model once."""
    made = {}

    def build(scheduler="DDIMScheduler", **options):
        key = (scheduler, json.dumps(options, sort_keys=True))
        if key not in made:
            made[key] = tiny.tiny_inpainting(tmp_path_factory.mktemp("paint"), scheduler, **options)
        return made[key]

    return build


@pytest.fixture
def ddim(checkpoints):
    return Inpainter.from_pretrained(checkpoints())


@pytest.mark.parametrize("scheduler", SCHEDULERS)
@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_paints_what_the_pipeline_of_diffusers_paints(
    checkpoints, pixels, scheduler, prediction_type
):
    directory = checkpoints(scheduler, prediction_type=prediction_type)
    ours = paint(Inpainter.from_pretrained(directory), pixels, PROMPTS, (1, 2))
    theirs = paint_with_diffusers(directory, pixels, PROMPTS, (1, 2))
    assert ours.std() > 0.05
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("scheduler", "options"),
    [
        ("DDIMScheduler", {"strength": 1.0, "scale": 3.0}),
        ("EulerDiscreteScheduler", {"strength": 1.0, "steps": 6}),
        ("EulerAncestralDiscreteScheduler", {"strength": 0.5, "steps": 7}),
        ("PNDMScheduler", {"strength": 0.35, "steps": 9, "scale": 1.0}),
        ("HeunDiscreteScheduler", {"strength": 0.6, "steps": 5}),
    ],
)
def test_strength_steps_and_guidance_mean_what_they_mean_in_diffusers(
    checkpoints, pixels, scheduler, options
):
    directory = checkpoints(scheduler)
    ours = paint(Inpainter.from_pretrained(directory), pixels, PROMPTS, (3, 4), **options)
    theirs = paint_with_diffusers(directory, pixels, PROMPTS, (3, 4), **options)
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)


@pytest.mark.parametrize("scheduler", [*SCHEDULERS, "EulerAncestralDiscreteScheduler"])
def test_an_image_comes_out_alike_in_any_batch(checkpoints, pixels, scheduler):
    inpainter = Inpainter.from_pretrained(checkpoints(scheduler))
    together = paint(inpainter, pixels, PROMPTS, (1, 2))
    for row in range(2):
        alone = paint(inpainter, pixels[row : row + 1], PROMPTS[row : row + 1], (1 + row,))
        torch.testing.assert_close(together[row : row + 1], alone, atol=1e-5, rtol=0)


def test_a_call_leaves_no_trace_in_the_scheduler(checkpoints, pixels):
    inpainter = Inpainter.from_pretrained(checkpoints("PNDMScheduler"))
    before = paint(inpainter, pixels, PROMPTS, (1, 2))
    paint(inpainter, pixels, PROMPTS, (8, 9), strength=0.9, steps=7)
    assert torch.equal(before, paint(inpainter, pixels, PROMPTS, (1, 2)))
    assert inpainter._scheduler.num_inference_steps is None  # as it was loaded


@pytest.mark.parametrize("channels", [3, 4, 12])
def test_takes_any_number_of_latent_channels(checkpoints, pixels, channels):
    inpainter = Inpainter.from_pretrained(checkpoints(latent_channels=channels))
    assert inpainter.encode(pixels, generators(1, 2)).shape == (2, channels, 16, 16)
    assert paint(inpainter, pixels, PROMPTS, (1, 2), steps=4).shape == pixels.shape


def test_latents_are_scaled_by_the_statistics_of_the_autoencoder(checkpoints, pixels):
    plain = Inpainter.from_pretrained(checkpoints(vae_config={"scaling_factor": 1.0}))
    scaled = Inpainter.from_pretrained(checkpoints(vae_config=CHANNEL_STATISTICS))
    raw, latents = (model.encode(pixels, generators(1, 2)) for model in (plain, scaled))
    for channel in range(4):
        mean, deviation = (
            CHANNEL_STATISTICS[name][channel] for name in ("latents_mean", "latents_std")
        )
        expected = (raw[:, channel] - mean) * 0.9 / deviation
        torch.testing.assert_close(latents[:, channel], expected)


def test_denoised_latents_are_in_the_unit_of_the_autoencoder(checkpoints, pixels):
    # the U-Net sees the same numbers in both models, so the result differs by the scaling alone
    inpainter = Inpainter.from_pretrained(checkpoints(vae_config=CHANNEL_STATISTICS))
    other = Inpainter.from_pretrained(checkpoints(vae_config={"scaling_factor": 1.0}))
    draws = generators(1, 2)
    latents, noise = inpainter.encode(pixels, draws), inpainter.draw_noise(draws)
    conditioning = inpainter.condition(PROMPTS, draws)
    ours = inpainter.denoise(latents, noise, conditioning, 0.6, 5, 2.0)
    unit = other.denoise(latents, noise, conditioning, 0.6, 5, 2.0)
    mean = torch.tensor(CHANNEL_STATISTICS["latents_mean"]).view(1, 4, 1, 1)
    deviation = torch.tensor(CHANNEL_STATISTICS["latents_std"]).view(1, 4, 1, 1)
    torch.testing.assert_close(ours, unit * deviation / 0.9 + mean)


def test_the_posterior_is_sampled_from_each_images_own_generator(ddim, pixels):
    first, again = (ddim.encode(pixels, generators(1, 2)) for _ in range(2))
    swapped = ddim.encode(pixels, generators(2, 2))
    assert torch.equal(first, again)
    assert torch.equal(first[1], swapped[1])
    assert not torch.equal(first[0], swapped[0])


def test_noise_is_unit_normal(ddim):
    noise = ddim.draw_noise(generators(*range(64)))
    assert noise.shape == (64, 4, 16, 16)
    assert abs(float(noise.mean())) < 0.02
    assert abs(float(noise.std()) - 1) < 0.02


@settings(max_examples=20)
@given(keep=st.lists(st.integers(0, 2), max_size=4), pooled=st.booleans())
def test_conditioning_is_selected_by_image(keep, pooled):
    from synood.models._prompting import Embedding
    from synood.models.inpainting import Conditioning

    numbers = torch.arange(3.0)
    embedding = Embedding(numbers.view(3, 1, 1), numbers.view(3, 1) if pooled else None)
    mask, masked = torch.ones(1, 1, 1, 1), numbers.view(3, 1, 1, 1)
    part = Conditioning(embedding, embedding.zeros(), mask, masked, 32).select(keep)
    assert part.prompted.text.flatten().tolist() == part.masked_latents.flatten().tolist() == keep
    assert (part.prompted.pooled is not None) == pooled
    assert not pooled or part.prompted.pooled.flatten().tolist() == keep


def test_refuses_a_prompt_that_the_tower_cannot_take_whole(ddim):
    fits = " ".join(["cat"] * 75)
    assert ddim.condition([fits], generators(1)).prompted.text.shape == (1, 77, 32)
    with pytest.raises(InputError, match=r"cat cat.* takes 78 tokens and the text tower 77"):
        ddim.condition([fits + " cat"], generators(1))


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.zeros(1, 3, 64, 64), r"\(B, 3, 32, 32\)"),
        (torch.zeros(3, 32, 32), r"\(B, 3, 32, 32\)"),
        (torch.full((1, 3, 32, 32), 200, dtype=torch.uint8), "divide bytes by 255"),
        (torch.full((1, 3, 32, 32), -1.0), r"in \[0, 1\]"),
        (torch.full((1, 3, 32, 32), torch.nan), r"in \[0, 1\]"),
    ],
)
def test_refuses_pictures_that_are_not_of_its_kind(ddim, images, message):
    with pytest.raises(InputError, match=message):
        ddim.encode(images, generators(1))


@pytest.mark.parametrize(("strength", "steps"), [(0.0, 10), (0.05, 10), (1.5, 10), (0.5, 2000)])
def test_refuses_a_schedule_without_steps(ddim, pixels, strength, steps):
    with pytest.raises(InputError, match=r"strength|num_inference_steps"):
        paint(ddim, pixels, PROMPTS, (1, 2), strength=strength, steps=steps)


def test_decoding_is_differentiable_and_stays_within_a_picture(ddim):
    latents = 30 * torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(3))
    latents.requires_grad_()
    pictures = ddim.decode(latents)
    (gradient,) = torch.autograd.grad(pictures.sum(), latents)
    assert 0 <= pictures.min() <= pictures.max() <= 1
    assert gradient.abs().max() > 0


def rewritten(directory, tmp_path, file, change):
    copy = tmp_path / "copy"
    shutil.copytree(directory, copy)
    value = json.loads((copy / file).read_text())
    change(value)
    (copy / file).write_text(json.dumps(value))
    return copy


@pytest.mark.parametrize(
    ("part", "weights"),
    [
        ("unet", "diffusion_pytorch_model"),
        ("vae", "diffusion_pytorch_model"),
        ("text_encoder", "model"),
    ],
)
def test_refuses_a_checkpoint_that_lacks_weights(checkpoints, tmp_path, part, weights):
    copy = tmp_path / "copy"
    shutil.copytree(checkpoints(), copy)
    file = copy / part / f"{weights}.safetensors"
    tensors = load_file(file)
    gone = sorted(tensors)[3]
    save_file({name: value for name, value in tensors.items() if name != gone}, file)
    with pytest.raises(CheckpointError, match=f"{part}: 1 weights are missing"):
        Inpainter.from_pretrained(copy)


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder", "tokenizer", "scheduler"])
def test_names_the_part_that_is_missing(checkpoints, tmp_path, part):
    copy = tmp_path / "copy"
    shutil.copytree(checkpoints(), copy)
    shutil.rmtree(copy / part)
    with pytest.raises(CheckpointError, match=part):
        Inpainter.from_pretrained(copy)


def test_refuses_a_missing_directory(tmp_path):
    with pytest.raises(CheckpointError, match="nowhere"):
        Inpainter.from_pretrained(tmp_path / "nowhere")


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
def test_refuses_weights_cut_short(checkpoints, tmp_path, part):
    copy = tmp_path / "copy"
    shutil.copytree(checkpoints(), copy)
    file = next((copy / part).glob("*.safetensors"))
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=part):
        Inpainter.from_pretrained(copy)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"in_channels": 8}, r"in_channels is 8.* has 9 or 4"),
        ({"num_class_embeds": 4}, "num_class_embeds is 4.* has None"),
        ({"class_embed_type": "timestep"}, "class_embed_type is timestep.* has None"),
    ],
)
def test_refuses_a_unet_with_other_inputs(checkpoints, tmp_path, option, message):
    import diffusers

    copy = tmp_path / "copy"
    shutil.copytree(checkpoints(), copy)
    with tiny.seeded(0):
        config = diffusers.UNet2DConditionModel.load_config(copy / "unet")
        unet = diffusers.UNet2DConditionModel.from_config(config, **option)
    shutil.rmtree(copy / "unet")
    unet.save_pretrained(copy / "unet")
    with pytest.raises(CheckpointError, match=message):
        Inpainter.from_pretrained(copy)


@pytest.mark.parametrize("name", ["NoSuchScheduler", "FlowMatchEulerDiscreteScheduler"])
def test_refuses_a_scheduler_that_cannot_start_from_an_image(checkpoints, tmp_path, name):
    def rename(config):
        config["_class_name"] = name

    copy = rewritten(checkpoints(), tmp_path, "scheduler/scheduler_config.json", rename)
    with pytest.raises(CheckpointError, match=name):
        Inpainter.from_pretrained(copy)


def test_the_fingerprint_follows_the_contents_and_not_the_place(checkpoints, tmp_path):
    original = Inpainter.from_pretrained(checkpoints())
    shutil.copytree(checkpoints(), tmp_path / "copy")
    copy = Inpainter.from_pretrained(tmp_path / "copy")
    other = Inpainter.from_pretrained(checkpoints("PNDMScheduler"))
    assert len(original.fingerprint) == 16
    assert original.fingerprint == copy.fingerprint != other.fingerprint


def test_draws_the_same_whatever_the_precision(checkpoints, pixels):
    single = Inpainter.from_pretrained(checkpoints())
    double = Inpainter.from_pretrained(checkpoints(), dtype=torch.float64)
    half = Inpainter.from_pretrained(checkpoints(), dtype=torch.bfloat16)
    expected = paint(double, pixels, PROMPTS, (1, 2))
    assert expected.dtype == torch.float64
    torch.testing.assert_close(
        paint(single, pixels, PROMPTS, (1, 2)).double(), expected, atol=1e-4, rtol=0
    )
    rough = paint(half, pixels, PROMPTS, (1, 2))
    assert rough.dtype == torch.float32
    assert (rough.double() - expected).abs().mean() < 0.02
