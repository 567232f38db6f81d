"""Painting on a device: the processor's images, half precision, the gradient, batches that fit."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import tiny
from painting import PROMPTS, guide, images, random_pixels
from synood.models.classifier import TransformersClassifier
from synood.models.inpainting import load_inpainter
from synood.models.memory import total_memory
from synood.settings import GuidanceSettings
from synood.synthesis.guide_output import guide_output
from synood.synthesis.memory import PiecewiseSynthesis, fitting_batch_size, largest_tried
from tiny_flow import tiny_zimage

pytestmark = [pytest.mark.device, pytest.mark.numerical]

DIFFUSION = GuidanceSettings(num_inference_steps=6, guidance_scale=2.0, step_size=0.1, target=3.0)
FLOW = replace(DIFFUSION, guidance_scale=0.0)
KINDS = {
    "diffusion": (tiny.tiny_inpainting, {}, DIFFUSION),
    "flow": (tiny_zimage, {"size": 32}, FLOW),
}


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    root = tmp_path_factory.mktemp("device")
    found = {name: make(root / name) for name, (make, _, _) in KINDS.items()}
    return {**found, "guide": tiny.tiny_resnet(root / "guide", list("abcdefg"))}


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


def loaded(places, kind, device, dtype="float32"):
    size = KINDS[kind][1]
    painter = load_inpainter(places[kind], device, dtype, **size)
    return painter, TransformersClassifier.from_pretrained(places["guide"], device)


@pytest.mark.parametrize("way", ["unguided", "rounds", "step"])
def test_it_paints_what_the_processor_paints(places, kind, device, way):
    settings = KINDS[kind][2]
    how = settings.unguided() if way == "unguided" else replace(settings, method=way, sigma=0.0)
    ours, ours_guide = loaded(places, kind, device)
    theirs, their_guide = loaded(places, kind, "cpu")
    assert ours.device.type == device
    found = guide(ours, random_pixels(), how, ours_guide)
    expected = guide(theirs, random_pixels(), how, their_guide)
    assert np.abs(images(found).astype(int) - images(expected)).mean() < 0.5
    for one, other in zip(found, expected, strict=True):
        assert one.losses == pytest.approx(other.losses, rel=1e-2, abs=1e-3)


def test_half_precision_paints_nearly_the_same(places, kind, device):
    """As `auto` does on an accelerator: the network in bfloat16, latents and guide in float32."""
    half, judge = loaded(places, kind, device, "auto" if device != "cpu" else torch.bfloat16)
    whole, _ = loaded(places, kind, device)
    assert half.precision == "bfloat16"
    how = KINDS[kind][2]
    assert half._autoencoder.dtype == torch.float32
    rough, exact = (
        images(guide(one, random_pixels(), how.unguided(), judge)) for one in (half, whole)
    )
    assert 0 < np.abs(rough.astype(int) - exact).mean() < 6
    guided = guide(half, random_pixels(), how, judge)
    assert all(np.isfinite(one.losses).all() for one in guided)


def gradient(places, kind, device, memory):
    painter, judge = loaded(places, kind, device)
    draws = torch.Generator().manual_seed(3)
    latents = torch.randn(3, *painter._latent_shape, generator=draws).to(device)
    settings = KINDS[kind][2]
    output = guide_output(painter, judge, latents, settings, memory, differentiate=True)
    return output.gradient.cpu()


@pytest.mark.parametrize("memory", ["plain", "slice", "checkpoint"])
def test_the_decoders_gradient_is_the_processors(places, kind, device, memory):
    expected = gradient(places, kind, "cpu", "plain")
    found = gradient(places, kind, device, memory)
    largest = float(expected.abs().max())
    assert largest > 0
    torch.testing.assert_close(found, expected, atol=1e-3 * largest, rtol=1e-3)


def test_the_batch_size_of_auto_is_painted_without_a_notice(places, kind, device):
    painter, judge = loaded(places, kind, device)
    settings = KINDS[kind][2]
    size = fitting_batch_size(painter, judge, settings, most=5)
    assert 1 <= size <= 5
    pixels = random_pixels(size).numpy()
    synthesis = PiecewiseSynthesis(painter, judge, settings)
    done, notices = synthesis.synthesize(pixels, PROMPTS[:1] * size, range(size))
    assert len(done) == size
    assert notices == []


def test_memory_that_runs_out_is_found_by_trying_and_survived(places, device):
    if device != "cuda":
        pytest.skip("only CUDA lets a process limit its own memory")
    painter, judge = loaded(places, "diffusion", device)
    guide(painter, random_pixels(), DIFFUSION, judge)  # libraries have their workspace now
    allowed = torch.cuda.memory_reserved() + 256e6
    many = 2048
    torch.cuda.set_per_process_memory_fraction(allowed / total_memory(device))
    try:
        fits = largest_tried(painter, judge, DIFFUSION, most=4 * many)
        assert 1 <= fits < 4 * many
        pixels = np.broadcast_to(random_pixels(1).numpy(), (many, 3, 32, 32))
        synthesis = PiecewiseSynthesis(painter, judge, replace(DIFFUSION, num_inference_steps=2))
        done, notices = synthesis.synthesize(pixels.copy(), PROMPTS[:1] * many, range(many))
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert len(done) == many
    assert any("ran out" in notice for notice in notices)
