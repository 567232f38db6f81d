"""Every kind of checkpoint that paints: SDXL and text-to-image beside Stable Diffusion in-painting.

The oracle is the pipeline of diffusers for the same files, as `test_inpainting.py` has it.
"""

from __future__ import annotations

import json
import shutil

import pytest
import torch

import tiny
from painting import PROMPTS, generators, paint, paint_with_diffusers, random_pixels
from synood.errors import CheckpointError, InputError
from synood.models.denoising import guidance_scale_embedding
from synood.models.inpainting import Inpainter

pytestmark = pytest.mark.numerical

KINDS = {
    "sdxl": {"sdxl": True},
    "sdxl text-to-image": {"sdxl": True, "text_to_image": True},
    "text-to-image": {"text_to_image": True},
}


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    made = {}

    def build(kind, scheduler="EulerDiscreteScheduler"):
        if (kind, scheduler) not in made:
            place = tmp_path_factory.mktemp("paint")
            made[kind, scheduler] = tiny.tiny_inpainting(place, scheduler, **KINDS[kind])
        return made[kind, scheduler]

    return build


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize(
    ("scheduler", "strength", "scale"),
    [
        ("EulerDiscreteScheduler", 0.6, 8.0),
        ("EulerDiscreteScheduler", 1.0, 5.0),
        ("PNDMScheduler", 0.6, 8.0),
        ("DDIMScheduler", 0.6, 1.0),
        ("DPMSolverMultistepScheduler", 0.6, 8.0),
    ],
)
def test_paints_what_the_pipeline_of_diffusers_paints(
    checkpoints, pixels, kind, scheduler, strength, scale
):
    directory = checkpoints(kind, scheduler)
    how = (pixels, PROMPTS, (1, 2), strength, 10, scale)
    ours = paint(Inpainter.from_pretrained(directory), *how)
    theirs = paint_with_diffusers(directory, *how)
    assert ours.std() > 0.05
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)


@pytest.mark.parametrize("options", [{}, *KINDS.values()], ids=["in-painting", *KINDS])
@pytest.mark.parametrize(("strength", "scale"), [(0.6, 8.0), (1.0, 8.0), (0.6, 1.0)])
def test_latent_consistency_models_paint_what_the_pipeline_of_diffusers_paints(
    tmp_path, pixels, options, strength, scale
):
    directory = tiny.tiny_inpainting(tmp_path, "LCMScheduler", guidance_embedding=32, **options)
    how = (pixels, PROMPTS, (1, 2), strength, 4, scale)
    ours = paint(Inpainter.from_pretrained(directory), *how)
    theirs = paint_with_diffusers(directory, *how)
    assert ours.std() > 0.05
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)
    other = (pixels, PROMPTS, (1, 2), strength, 4, scale + 2)
    assert (paint(Inpainter.from_pretrained(directory), *other) - ours).abs().max() > 1e-4


@pytest.mark.parametrize("scheduler", ["EulerDiscreteScheduler", "EulerAncestralDiscreteScheduler"])
@pytest.mark.parametrize("options", [KINDS["text-to-image"], KINDS["sdxl text-to-image"]])
@pytest.mark.parametrize(
    ("strength", "steps", "scale"), [(0.6, 4, 0.0), (1.0, 1, 0.0), (0.5, 2, 1.0)]
)
def test_turbo_models_paint_what_the_pipeline_of_diffusers_paints(
    tmp_path, pixels, scheduler, options, strength, steps, scale
):
    trailing = {"timestep_spacing": "trailing"}
    directory = tiny.tiny_inpainting(tmp_path, scheduler, scheduler_config=trailing, **options)
    how = (pixels, PROMPTS, (1, 2), strength, steps, scale)
    ours = paint(Inpainter.from_pretrained(directory), *how)
    torch.testing.assert_close(ours, paint_with_diffusers(directory, *how), atol=1e-4, rtol=0)
    assert ours.std() > 0.05


@pytest.mark.parametrize("width", [8, 33, 256])
def test_the_embedding_of_the_guidance_scale_is_that_of_diffusers(width):
    import diffusers

    scales = torch.tensor([1.0, 3.5, 8.0])
    theirs = diffusers.StableDiffusionInpaintPipeline.get_guidance_scale_embedding(
        None, scales - 1, width
    )
    torch.testing.assert_close(guidance_scale_embedding(scales, width), theirs)


@pytest.mark.parametrize("zeros", [True, False])
def test_the_empty_prompt_of_sdxl_is_what_its_index_says(checkpoints, tmp_path, pixels, zeros):
    copy = changed(checkpoints("sdxl"), tmp_path, force_zeros_for_empty_prompt=zeros)
    inpainter = Inpainter.from_pretrained(copy)
    empty = inpainter.condition(PROMPTS, generators(1, 2)).empty
    assert (empty.text.abs().max() == 0) == (empty.pooled.abs().max() == 0) == zeros
    how = (pixels, PROMPTS, (1, 2), 0.6, 5, 8.0)
    ours, theirs = paint(inpainter, *how), paint_with_diffusers(copy, *how)
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)


def test_an_image_comes_out_alike_in_any_batch(checkpoints, pixels):
    inpainter = Inpainter.from_pretrained(checkpoints("sdxl"))
    together = paint(inpainter, pixels, PROMPTS, (1, 2), 0.6, 5, 8.0)
    for row in range(2):
        here = slice(row, row + 1)
        alone = paint(inpainter, pixels[here], PROMPTS[here], (1 + row,), 0.6, 5, 8.0)
        torch.testing.assert_close(together[here], alone, atol=1e-5, rtol=0)


def test_a_text_to_image_model_is_an_in_painting_one_that_ignores_mask_and_picture(tmp_path):
    """The same U-Net with five more channels whose weights are zero paints the same picture."""
    import diffusers

    plain = tiny.tiny_inpainting(tmp_path / "plain", text_to_image=True)
    wide = shutil.copytree(plain, tmp_path / "wide")
    narrow = diffusers.UNet2DConditionModel.from_pretrained(plain / "unet")
    unet = diffusers.UNet2DConditionModel.from_config(narrow.config, in_channels=9)
    weights = narrow.state_dict()
    stem = weights["conv_in.weight"]
    weights["conv_in.weight"] = torch.cat([stem, stem.new_zeros(len(stem), 5, 3, 3)], dim=1)
    unet.load_state_dict(weights)
    unet.save_pretrained(wide / "unet")
    how = (random_pixels(), PROMPTS, (1, 2), 0.6, 5, 8.0)
    ours, other = (paint(Inpainter.from_pretrained(path), *how) for path in (plain, wide))
    torch.testing.assert_close(ours, other, atol=1e-6, rtol=0)


def test_half_precision_leaves_the_autoencoder_whole(checkpoints, pixels):
    """`force_upcast`, which SDXL's autoencoder asks for, holds for every model."""
    half = Inpainter.from_pretrained(checkpoints("sdxl"), dtype=torch.bfloat16)
    whole = Inpainter.from_pretrained(checkpoints("sdxl"))
    latents = half.encode(pixels, generators(1, 2))
    assert latents.dtype == torch.float32
    assert torch.equal(latents, whole.encode(pixels, generators(1, 2)))
    conditioning = half.condition(PROMPTS, generators(1, 2))
    assert conditioning.prompted.text.dtype == torch.bfloat16
    how = (pixels, PROMPTS, (1, 2), 0.6, 5, 2.0)
    rough, exact = paint(half, *how), paint(whole, *how)
    assert rough.dtype == torch.float32
    assert 0 < (rough - exact).abs().mean() < 0.02


def test_refuses_a_prompt_that_only_the_second_tower_cannot_take(checkpoints, tmp_path):
    copy = shutil.copytree(checkpoints("sdxl"), tmp_path / "copy")
    file = copy / "tokenizer_2" / "tokenizer_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "model_max_length": 20}))
    inpainter = Inpainter.from_pretrained(copy)
    with pytest.raises(InputError, match="takes 32 tokens and the text tower 20"):
        inpainter.check_prompts(["cat", " ".join(["cat"] * 30)])
    inpainter.check_prompts([" ".join(["cat"] * 18)])


def changed(directory, tmp_path, **fields):
    copy = shutil.copytree(directory, tmp_path / "copy")
    index = json.loads((copy / "model_index.json").read_text())
    (copy / "model_index.json").write_text(json.dumps({**index, **fields}))
    return copy


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"unet": ["diffusers", "SD3Transformer2DModel"]}, "unet is SD3Transformer2DModel, not"),
        ({"text_encoder": [None, None]}, "text_encoder is None, not CLIPTextModel"),
        ({"vae": None}, "vae is None, not AutoencoderKL"),
    ],
)
def test_refuses_a_pipeline_of_another_kind(checkpoints, tmp_path, fields, message):
    with pytest.raises(CheckpointError, match=rf"model_index\.json: {message}"):
        Inpainter.from_pretrained(changed(checkpoints("sdxl"), tmp_path, **fields))


def test_refuses_a_single_tower_where_the_unet_wants_two(checkpoints, tmp_path):
    copy = changed(checkpoints("sdxl"), tmp_path)
    index = json.loads((copy / "model_index.json").read_text())
    del index["text_encoder_2"], index["tokenizer_2"]
    (copy / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match=r"cross_attention_dim is 80.* has 32"):
        Inpainter.from_pretrained(copy)


def test_the_fingerprint_follows_every_part(checkpoints, tmp_path):
    first = Inpainter.from_pretrained(checkpoints("sdxl")).fingerprint
    copy = changed(checkpoints("sdxl"), tmp_path, force_zeros_for_empty_prompt=False)
    assert Inpainter.from_pretrained(copy).fingerprint != first
    (copy / "tokenizer_2" / "note.txt").write_text("changed")
    index = {"force_zeros_for_empty_prompt": True}
    same = changed(copy, tmp_path / "again", **index)
    assert Inpainter.from_pretrained(same).fingerprint != first


@pytest.mark.parametrize(
    ("gone", "copy"),
    [
        (
            "stabilityai/stable-diffusion-2-inpainting",
            "sd2-community/stable-diffusion-2-inpainting",
        ),
        (
            "runwayml/stable-diffusion-inpainting",
            "stable-diffusion-v1-5/stable-diffusion-inpainting",
        ),
    ],
)
def test_names_the_copy_of_a_checkpoint_that_has_left_the_hub(gone, copy):
    with pytest.raises(CheckpointError, match=f"it was removed from the hub; use {copy}"):
        Inpainter.from_pretrained(gone)
