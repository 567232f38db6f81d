"""Trains the mini bundle's image tower against its frozen sentence tower.

    python -m tools.mini.train_encoder --work DIR [--steps N]

Every step draws scenes of the mini world, encodes them, and asks for the subject's name among
all concept names and a sample of WordNet words. Two smaller terms keep the tower of use on
photographs: the rows of its own ImageNet classifier, taken as features, must fall on their class
names, and on crops of real photographs the features must stay those of the frozen original.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F

from synood.files import fingerprint, replacing, sha256_file
from synood.labels.wordnet import shipped_words
from synood.mini.concepts import spoken
from synood.mini.world import background, paste
from synood.models.dual import DualTowers
from synood.models.efficientnet_lite import EfficientNetLite0, fold_batch_norms
from synood.models.sentences import TENSORS, SentenceTower
from tools.mini.options import loop_settings, parser, prepare
from tools.mini.training import LoopSettings, Randomness, Run

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from PIL import Image

    from synood.mini.world import World

log = logging.getLogger(__name__)
TEMPLATES = ("a photo of a {}", "{}", "the nice {}", "a picture of a {}", "a {}")
IMAGE_SIZE = 96
SHAPE: Final = {"cosine": True, "average_decay": 0.0, "gradient_clip": 5.0}  # of LoopSettings
WORDS = 24_000  # of WordNet, as wrong answers
SAMPLED_WORDS = 1_500  # of these, in each step
FROZEN_BLOCKS = 2  # the stem and the first blocks hold edges and cost the most


@dataclass(frozen=True)
class Texts:
    """Unit-length sentence features, (template, word, D): what images are matched with."""

    concepts: Tensor
    words: Tensor
    imagenet: Tensor

    @classmethod
    def encode(cls, tower: SentenceTower, names: list[str], imagenet: list[str]) -> Texts:
        """Encode all concept names, a sample of WordNet words and ImageNet's class names."""
        taken = {name.lower() for name in names}
        words = [word.text for word in shipped_words() if word.text not in taken]
        chosen = np.random.default_rng(0).choice(len(words), WORDS, replace=False)
        sample = [words[index] for index in sorted(chosen)]

        def encoded(texts: list[str], count: int) -> Tensor:
            forms = TEMPLATES[:count]
            return torch.stack([tower.encode([form.format(t) for t in texts]) for form in forms])

        return cls(encoded(names, len(TEMPLATES)), encoded(sample, 2), encoded(imagenet, 3))


class SceneSampler:
    """Draws training images with soft targets over the concept names."""

    def __init__(self, world: World, names: list[str], concepts: list[str]) -> None:
        self.world, self.concepts = world, concepts
        self.place = {name: index for index, name in enumerate(names)}

    def _subject(self, rng: np.random.Generator) -> str:
        draw = rng.random()
        if draw < 0.4:
            return self.world.classes[rng.integers(len(self.world.classes))]
        if draw < 0.5:
            return self.world.context[rng.integers(len(self.world.context))]
        return self.concepts[rng.integers(len(self.concepts))]

    def draw(self, rng: np.random.Generator) -> tuple[Image.Image, tuple[str, ...]]:
        """Draw one image: mostly scenes of 64 px, some stills, some sharp ones of 96 px."""
        from PIL import Image

        subject = self._subject(rng)
        size = IMAGE_SIZE if rng.random() < 0.2 else 64
        if rng.random() < 0.25:
            scene = self.world.still([subject], rng, size)
        else:
            scene = self.world.scene(subject, rng, size)
        return Image.fromarray(scene.image), scene.names

    def batch(self, rng: np.random.Generator, n: int) -> tuple[Tensor, Tensor]:
        """Return pixels (n, 3, 96, 96) in [0, 1] and targets (n, names), rows summing to one."""
        pixels, targets = [], torch.zeros(n, len(self.place))
        for row in range(n):
            picture, names = self.draw(rng)
            pixels.append(_pixels(picture))
            rest = 0.15 / max(len(names) - 1, 1)
            for rank, name in enumerate(names):
                share = (0.85 if len(names) > 1 else 1.0) if rank == 0 else rest
                targets[row, self.place[spoken(name)]] += share
        return torch.stack(pixels), targets


def _pixels(picture: Image.Image) -> Tensor:
    """Resize to the tower's size as the encoder does; (3, S, S) in [0, 1]."""
    from PIL import Image

    if picture.size != (IMAGE_SIZE, IMAGE_SIZE):
        picture = picture.resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.asarray(picture).copy()).permute(2, 0, 1).float() / 255


class PhotoSampler:
    """Crops of real photographs, some with a drawing pasted in, for feature distillation."""

    def __init__(self, folder: Path, world: World) -> None:
        from PIL import Image

        self.world = world
        files = sorted(f for f in folder.iterdir() if f.suffix in (".png", ".jpg"))
        self.photos = [Image.open(file).convert("RGB") for file in files]

    def batch(self, rng: np.random.Generator, n: int) -> Tensor:
        """Return pixels (n, 3, 96, 96) in [0, 1]."""
        rows = []
        for _ in range(n):
            photo = self.photos[rng.integers(len(self.photos))]
            side = int(rng.uniform(0.15, 0.9) * min(photo.size))
            x, y = (int(rng.integers(length - side + 1)) for length in photo.size)
            crop = photo.crop((x, y, x + side, y + side)).resize((IMAGE_SIZE, IMAGE_SIZE))
            if rng.random() < 0.3:
                name = self.world.painted[rng.integers(len(self.world.painted))]
                paste(crop, self.world.drawing(name, rng), rng.uniform(0.4, 0.8), (0.5, 0.5), rng)
            elif rng.random() < 0.1:
                crop = background(rng, IMAGE_SIZE)
            rows.append(_pixels(crop))
        return torch.stack(rows)


@dataclass
class Losses:
    """The three terms of one step."""

    scenes: Tensor
    prototypes: Tensor
    photos: Tensor

    def total(self) -> Tensor:
        """Weighted sum; the weights were set once by the size of the gradients."""
        return self.scenes + 0.2 * self.prototypes + 1.0 * self.photos


class EncoderTrainer:
    """The model, its data, and the loss of a step.

    Args:
        original: the tower that training starts from; its features on photographs are kept.
        rows: (1000, 1280) weights of its ImageNet classifier.
        texts: features of everything that images are matched with.
        scenes: draws scenes.
        photos: draws crops of photographs.
    """

    def __init__(
        self,
        original: EfficientNetLite0,
        rows: Tensor,
        texts: Texts,
        scenes: SceneSampler,
        photos: PhotoSampler,
    ) -> None:
        self.original = original.eval().requires_grad_(False)
        self.rows, self.texts, self.scenes, self.photos = rows, texts, scenes, photos
        self.model = DualTowers(texts.concepts.shape[-1])
        torch.nn.init.eye_(self.model.text_map.weight)
        torch.nn.init.zeros_(self.model.text_map.bias)
        self.model.tower.load_state_dict(original.state_dict())
        mean = texts.words.flatten(0, 1).mean(0)
        self.model.text_map.bias.data.copy_(-mean)  # spreads the names out
        for part in (self.model.tower.stem, *self.model.tower.blocks[:FROZEN_BLOCKS]):
            part.requires_grad_(False)

    def parameters(self) -> list[dict[str, Any]]:
        """Return the groups for AdamW: the image map learns fastest, the text map slowest."""
        tower = [p for p in self.model.tower.parameters() if p.requires_grad]
        return [
            {"params": tower, "scale": 1.0},
            {"params": [*self.model.image_map.parameters(), self.model.log_scale], "scale": 3.0},
            {"params": [*self.model.text_map.parameters()], "scale": 0.1},
        ]

    def losses(self, rng: np.random.Generator, batch_size: int) -> Losses:
        """Compute the terms on fresh images."""
        pixels, targets = self.scenes.batch(rng, batch_size)
        crops = self.photos.batch(rng, batch_size // 8)
        both = torch.cat([pixels, crops]).contiguous(memory_format=torch.channels_last)
        features = self.model.tower((both - 127 / 255) / (128 / 255))
        with torch.no_grad():
            kept = self.original((both[batch_size:] - 127 / 255) / (128 / 255))
        template = int(rng.integers(len(TEMPLATES)))
        words = self.texts.words
        some = min(SAMPLED_WORDS, words.shape[1])
        sample = torch.from_numpy(rng.choice(words.shape[1], some, replace=False))
        texts = torch.cat([self.texts.concepts[template], words[template % 2][sample]])
        scale = self.model.log_scale.exp().clamp(max=100)
        logits = scale * self._cosines(self.model.image_map(features[:batch_size]), texts)
        targets = F.pad(targets, (0, logits.shape[1] - targets.shape[1]))
        return Losses(
            F.cross_entropy(logits, targets),
            self._prototype_loss(kept.mean(0), rng, scale),
            F.mse_loss(features[batch_size:], kept) / kept.var().clamp_min(1e-6),
        )

    def _cosines(self, images: Tensor, texts: Tensor) -> Tensor:
        return F.normalize(images, dim=-1) @ F.normalize(self.model.text_map(texts), dim=-1).T

    def _prototype_loss(self, mean: Tensor, rng: np.random.Generator, scale: Tensor) -> Tensor:
        """Match ImageNet's classifier rows, moved to where features lie, with their names."""
        chosen = torch.from_numpy(rng.choice(len(self.rows), 256, replace=False))
        rows = F.normalize(self.rows[chosen], dim=-1)
        strength = torch.from_numpy(rng.uniform(4, 12, (256, 1)).astype(np.float32))
        features = (mean + strength * rows).clamp(0, 6)
        texts = self.texts.imagenet[int(rng.integers(3))]
        return F.cross_entropy(scale * self._cosines(self.model.image_map(features), texts), chosen)

    def train(self, settings: LoopSettings, batch_size: int, folder: Path) -> Run:
        """Train within the budget, resuming from `folder`; write encoder.safetensors there."""
        run = Run(
            torch.nn.ModuleDict({"encoder": self.model}),
            settings,
            folder / "train_encoder.state",
            {"batch_size": batch_size, "dim": self.texts.concepts.shape[-1]},
            self.parameters(),
            weight_decay=0.01,
        )

        def loss_of(chance: Randomness) -> Tensor:
            return self.losses(chance.numpy, batch_size).total()

        def check() -> None:
            log.info("step %6d  scale %.1f", run.step, float(self.model.log_scale.detach().exp()))
            with replacing(folder / "encoder.safetensors") as part:
                save_file(self.model.state_dict(), part)

        run.train(loss_of, check, batch_size)
        return run


def cached_texts(work: Path, names: list[str]) -> Texts:
    """Encode the texts, or read them where they were encoded before from the same words."""
    lemmas = (work / "imagenet_names.txt").read_text(encoding="utf-8").splitlines()
    tower = sha256_file(work / "text" / TENSORS)
    cache = work / f"texts-{fingerprint(names, lemmas, TEMPLATES, WORDS, tower)}.safetensors"
    if not cache.is_file():
        texts = Texts.encode(SentenceTower(work / "text"), names, lemmas)
        with replacing(cache) as part:
            save_file({key: value.contiguous() for key, value in vars(texts).items()}, part)
    return Texts(**load_file(cache))


def trainer_of(work: Path, world: World) -> EncoderTrainer:
    """Put the trainer together from what `tools.mini.fetch` left in `work`."""
    state = torch.load(work / "efficientnet-lite0.pth", weights_only=True, map_location="cpu")
    original = EfficientNetLite0()
    original.load_state_dict(fold_batch_norms(state))
    concepts = world.artwork.concepts(*_PARTS, vendors=world.vendors)
    names = sorted({spoken(concept) for concept in concepts})
    return EncoderTrainer(
        original,
        state["_fc.weight"],
        cached_texts(work, names),
        SceneSampler(world, names, concepts),
        PhotoSampler(work / "photos", world),
    )


_PARTS = (
    "id", "context", "near-natural", "near-made", "validation-near", "validation-far", "faces",
    "symbols", "none",
)  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    """Command: python -m tools.mini.train_encoder --work DIR [--steps N]."""
    shared = parser("Train the image tower of the mini encoder.", minutes=60)
    shared.set_defaults(steps=1100, fp32=True)
    options = shared.parse_args(arguments)
    world, _ = prepare(options, "train_encoder")
    torch.manual_seed(options.seed)  # the untrained maps
    settings = replace(
        loop_settings(options, learning_rate=4e-4),
        cosine=True,
        average_decay=0.0,
        gradient_clip=5.0,
    )
    trainer_of(options.work, world).train(settings, options.batch_size or 64, options.work)


if __name__ == "__main__":
    main()
