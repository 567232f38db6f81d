"""Each control changes one thing: where the pieces lie, the autoencoder, or the guidance."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from synood.benchmark.protocol.controls import (
    CONTROLS,
    JIGSAW,
    UNGUIDED,
    VAE,
    control_requests,
    control_synthesizer,
    jigsaw,
    round_trip,
)
from synood.files import sha256_file
from synood.models.classifier import TransformersClassifier
from synood.models.inpainting import Inpainter
from synood.pipeline.rundir.shards import SynthesisRequest
from synood.settings import GuidanceSettings
from synood.synthesis.guidance import guided_inpainting
from tiny import tiny_inpainting, tiny_resnet

pytestmark = pytest.mark.numerical

SETTINGS = GuidanceSettings(num_inference_steps=4, rounds=3, step_size=1e3, target=5.0)


class Parts:
    """The models of a bundle, as far as a studio asks for them."""

    def __init__(self, inpainter):
        self.inpainter = inpainter


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    tiny_inpainting(root / "inpainter", vae_config={"scaling_factor": 0.5})
    classifier = TransformersClassifier.from_pretrained(tiny_resnet(root / "resnet", ["a", "b"]))
    return Inpainter.from_pretrained(root / "inpainter"), classifier


@pytest.fixture(scope="module")
def orders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sources")
    rng = np.random.default_rng(0)
    made = []
    for i in range(3):
        path = folder / f"{i}.png"
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(path)
        digest = sha256_file(path)
        made.append(
            SynthesisRequest(f"{i}.png", path, digest, "photo of a tree", 100 + i, f"stamp{i}")
        )
    return made


def paint(models, control, orders, batch_size=4):
    synthesizer = control_synthesizer(control, Parts(models[0]), models[1], SETTINGS, batch_size)
    return synthesizer.synthesize([(request, None) for request in orders]).results


def test_the_jigsaw_control_cuts_the_sources_and_keeps_their_seeds(models, orders):
    pairs = paint(models, JIGSAW, orders)
    for rendered, order in zip(pairs, orders, strict=True):
        source = np.asarray(Image.open(order.path))
        assert (rendered.image == jigsaw(source, 4, order.seed)).all()


def test_the_vae_control_is_encoding_and_decoding_as_diffusers_does(models, orders):
    inpainter, _ = models
    vae = inpainter._autoencoder._vae
    pairs = paint(models, VAE, orders)
    for rendered, order in zip(pairs, orders, strict=True):
        source = torch.from_numpy(np.array(Image.open(order.path))).permute(2, 0, 1)[None] / 255
        generator = torch.Generator().manual_seed(order.seed)
        with torch.no_grad():
            latents = vae.encode(source * 2 - 1).latent_dist.sample(generator)
            expected = (vae.decode(latents).sample / 2 + 0.5).clamp(0, 1)
        difference = expected[0].permute(1, 2, 0).numpy() * 255 - rendered.image
        assert np.abs(difference).max() < 0.51


def test_the_round_trip_does_not_depend_on_the_batch(models, orders):
    pixels = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    together = round_trip(models[0], pixels, [1, 2, 3])
    alone = torch.cat([round_trip(models[0], pixels[i : i + 1], [i + 1]) for i in range(3)])
    assert together == pytest.approx(alone, abs=1e-5)
    assert not torch.allclose(round_trip(models[0], pixels, [4, 5, 6]), together, atol=1e-5)


def guided(models, orders, settings):
    pixels = np.stack([np.asarray(Image.open(order.path)) for order in orders])
    rendered = guided_inpainting(
        *models,
        torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255,
        [order.prompt for order in orders],
        settings,
        [order.seed for order in orders],
    )
    return np.stack([one.image for one in rendered]).astype(int)


def test_the_unguided_control_is_the_run_with_step_size_0(models, orders):
    expected = guided(models, orders, replace(SETTINGS, step_size=0.0))
    same_call, padded = (
        np.stack([one.image for one in paint(models, UNGUIDED, orders, batch_size)])
        for batch_size in (len(orders), len(orders) + 1)
    )
    assert (same_call == expected).all()
    difference = np.abs(padded - expected)  # kernels may round differently at other batch sizes
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.002
    assert (same_call != guided(models, orders, SETTINGS)).mean() > 0.01


@pytest.mark.parametrize("control", [VAE, JIGSAW])
def test_changed_pictures_record_the_classifiers_energies(models, orders, control):
    pairs = paint(models, control, orders)
    for rendered, order in zip(pairs, orders, strict=True):
        for image, energy in (
            (np.asarray(Image.open(order.path)), rendered.source_energy),
            (rendered.image, rendered.energies[-1]),
        ):
            pixels = torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float() / 255
            with torch.no_grad():
                expected = -models[1].logits(pixels).logsumexp(1).item()
            assert energy == pytest.approx(expected, abs=1e-4)


def test_orders_keep_prompt_and_seed_and_get_a_stamp_for_each_control(orders):
    stamps = set()
    for control in CONTROLS:
        changed = control_requests(control, orders)
        stamps.update(order.inputs for order in changed)
        assert [replace(a, inputs="") for a in changed] == [replace(b, inputs="") for b in orders]
    assert len(stamps) == len(CONTROLS) * len(orders)
