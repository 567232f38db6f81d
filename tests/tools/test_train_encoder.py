"""The encoder's trainer: texts are cached by what they are made of, a killed run goes on."""

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from synood.mini.artwork import Artwork
from synood.mini.concepts import spoken
from synood.mini.suite import ARTWORK
from synood.mini.world import World
from synood.models.dual import DualTowers
from synood.models.efficientnet_lite import EfficientNetLite0
from tools.mini import train_encoder
from tools.mini.train_encoder import EncoderTrainer, PhotoSampler, SceneSampler, Texts, cached_texts
from tools.mini.training import LoopSettings

DIM = 8


@pytest.fixture(scope="module")
def world():
    return World(Artwork.load(ARTWORK))


@pytest.fixture
def trainer(world, tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    pixels = np.random.default_rng(0).integers(0, 255, (120, 120, 3), np.uint8)
    Image.fromarray(pixels).save(photos / "noise.png")
    concepts = sorted({*world.classes, *world.context})
    names = sorted({spoken(concept) for concept in concepts})
    generator = torch.Generator().manual_seed(0)

    def drawn(*shape):
        return torch.randn(*shape, DIM, generator=generator)

    def make():
        torch.manual_seed(0)
        return EncoderTrainer(
            EfficientNetLite0(),
            torch.randn(300, 1280),
            texts,
            SceneSampler(world, names, concepts),
            PhotoSampler(photos, world),
        )

    texts = Texts(drawn(5, len(names)), drawn(2, 40), drawn(3, 300))
    return make


def settings(**changes):
    return LoopSettings(**{"steps": 4, "bf16": False, "warmup": 2, "seed": 3, **changes})


def test_a_killed_and_resumed_run_ends_with_the_same_weights(trainer, tmp_path, monkeypatch):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for folder in (whole, killed):
        folder.mkdir()
    trainer().train(settings(), 8, whole)
    with monkeypatch.context() as patch:
        losses, calls = EncoderTrainer.losses, []

        def until_the_third(self, rng, batch_size):
            calls.append(batch_size)
            if len(calls) == 3:
                raise KeyboardInterrupt
            return losses(self, rng, batch_size)

        patch.setattr(EncoderTrainer, "losses", until_the_third)
        with pytest.raises(KeyboardInterrupt):
            trainer().train(settings(save_minutes=0), 8, killed)
    run = trainer().train(settings(), 8, killed)
    assert run.step == 4
    weights = load_file(whole / "encoder.safetensors")
    DualTowers(DIM).load_state_dict(weights)
    for name, value in load_file(killed / "encoder.safetensors").items():
        assert torch.equal(value, weights[name]), name


def test_frozen_blocks_stay_and_the_rest_learns_at_rates_of_its_own(trainer, tmp_path):
    made = trainer()
    before = {name: value.clone() for name, value in made.model.state_dict().items()}
    run = made.train(settings(steps=1, warmup=1, learning_rate=1e-3), 8, tmp_path)
    rates = [group["lr"] for group in run.optimiser.param_groups]
    assert rates == pytest.approx([1e-3, 3e-3, 1e-4])
    after = made.model.state_dict()
    moved = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert not any(name.startswith(("tower.stem", "tower.blocks.0.")) for name in moved)
    assert {"image_map.weight", "text_map.weight", "log_scale"} <= moved


class Tower:
    """Counts what it is asked to encode."""

    encoded = 0

    def __init__(self, folder):
        assert (folder / "model.safetensors").is_file()

    def encode(self, texts):
        Tower.encoded += len(texts)
        return torch.tensor([[len(text), 1.0] for text in texts])


def test_texts_are_encoded_anew_when_anything_they_are_made_of_changes(tmp_path, monkeypatch):
    monkeypatch.setattr(train_encoder, "SentenceTower", Tower)
    monkeypatch.setattr(train_encoder, "WORDS", 3)
    (tmp_path / "imagenet_names.txt").write_text("tench\n")
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "model.safetensors").write_bytes(b"weights")
    first = cached_texts(tmp_path, ["panda", "lion"])
    count = Tower.encoded
    again = cached_texts(tmp_path, ["panda", "lion"])
    assert Tower.encoded == count
    assert torch.equal(first.concepts, again.concepts)
    assert cached_texts(tmp_path, ["panda", "owl"]).concepts.shape == first.concepts.shape
    assert Tower.encoded == 2 * count
    (tmp_path / "text" / "model.safetensors").write_bytes(b"other weights")
    cached_texts(tmp_path, ["panda", "lion"])
    assert Tower.encoded == 3 * count
