"""Train the mini bundle's image tower against its frozen sentence tower.

Every step draws scenes of the mini world, encodes them, and asks for the subject's name among
all concept names and a sample of WordNet words. Two smaller terms keep the tower of use on
photographs: the rows of its own ImageNet classifier, taken as features, must fall on their class
names, and on crops of real photographs the features must stay those of the frozen original.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from synood.files import replacing
from synood.labels.wordnet import shipped_words
from synood.mini.artwork import Artwork
from synood.mini.concepts import spoken
from synood.mini.world import World, background, paste
from synood.models.dual import DualTowers, SentenceTower
from synood.models.efficientnet_lite import EfficientNetLite0, fold_batch_norms

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL import Image

log = logging.getLogger(__name__)
TEMPLATES = ("a photo of a {}", "{}", "the nice {}", "a picture of a {}", "a {}")
IMAGE_SIZE = 96
WORDS = 24_000  # of WordNet, to tell pictures from
FROZEN_BLOCKS = 2  # the stem and the first blocks hold edges and cost the most


@dataclass(frozen=True)
class Texts:
    """Unit-length sentence features, (template, word, D): what images are matched with."""

    names: list[str]
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

        return cls(names, encoded(names, len(TEMPLATES)), encoded(sample, 2), encoded(imagenet, 3))


class SceneSampler:
    """Draws training pictures with soft targets over the concept names."""

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
        """Draw one picture: mostly scenes of 64 px, some stills, some sharp ones of 96 px."""
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
    """Holds models, data and the step; `train` runs it for a time."""

    def __init__(self, work: Path, checkpoint: Path, photos: Path, node_pack: Path) -> None:
        torch.manual_seed(0)
        state = torch.load(checkpoint, weights_only=True, map_location="cpu")
        self.original = EfficientNetLite0()
        self.original.load_state_dict(fold_batch_norms(state))
        self.original.eval().requires_grad_(False)
        self.rows: Tensor = state["_fc.weight"]
        world = World(Artwork.load(node_pack))
        concepts = world.artwork.concepts(*_PARTS, vendors=world.vendors)
        names = sorted({spoken(concept) for concept in concepts})
        self.texts = self._texts(work, names)
        self.scenes = SceneSampler(world, names, concepts)
        self.photos = PhotoSampler(photos, world)
        self.model = DualTowers(self.texts.concepts.shape[-1])
        self.model.tower.load_state_dict(self.original.state_dict())
        self._centre_text_map()
        for part in (self.model.tower.stem, *self.model.tower.blocks[:FROZEN_BLOCKS]):
            part.requires_grad_(False)

    def _texts(self, work: Path, names: list[str]) -> Texts:
        cache = work / "texts.pt"
        if not cache.exists():
            lemmas = (work / "imagenet_names.txt").read_text(encoding="utf-8").splitlines()
            texts = Texts.encode(SentenceTower.load(work / "text"), names, lemmas)
            torch.save(vars(texts), cache)
        return Texts(**torch.load(cache, weights_only=True))

    def _centre_text_map(self) -> None:
        """Start the text map at the identity less the mean of all words: names spread out."""
        mean = self.texts.words.flatten(0, 1).mean(0)
        self.model.text_map.bias.data.copy_(-mean)

    def optimiser(self, rate: float) -> torch.optim.AdamW:
        """AdamW; the maps learn faster than the tower, the text map slower than all."""
        tower = [p for p in self.model.tower.parameters() if p.requires_grad]
        return torch.optim.AdamW([
            {"params": tower, "scale": 1.0},
            {"params": [*self.model.image_map.parameters(), self.model.log_scale], "scale": 3.0},
            {"params": [*self.model.text_map.parameters()], "scale": 0.1},
        ], lr=rate, weight_decay=0.01)  # fmt: skip

    def losses(self, rng: np.random.Generator, batch: int) -> Losses:
        """Compute the terms on fresh pictures."""
        pixels, targets = self.scenes.batch(rng, batch)
        crops = self.photos.batch(rng, batch // 8)
        both = torch.cat([pixels, crops]).contiguous(memory_format=torch.channels_last)
        features = self.model.tower((both - 127 / 255) / (128 / 255))
        with torch.no_grad():
            kept = self.original((both[batch:] - 127 / 255) / (128 / 255))
        template = int(rng.integers(len(TEMPLATES)))
        sample = torch.from_numpy(rng.choice(self.texts.words.shape[1], 1500, replace=False))
        texts = torch.cat([self.texts.concepts[template], self.texts.words[template % 2][sample]])
        scale = self.model.log_scale.exp().clamp(max=100)
        logits = scale * self._cosines(self.model.image_map(features[:batch]), texts)
        targets = F.pad(targets, (0, logits.shape[1] - targets.shape[1]))
        return Losses(
            F.cross_entropy(logits, targets),
            self._prototype_loss(kept.mean(0), rng, scale),
            F.mse_loss(features[batch:], kept) / kept.var().clamp_min(1e-6),
        )

    def _cosines(self, images: Tensor, texts: Tensor) -> Tensor:
        return F.normalize(images, dim=-1) @ F.normalize(self.model.text_map(texts), dim=-1).T

    def _prototype_loss(self, mean: Tensor, rng: np.random.Generator, scale: Tensor) -> Tensor:
        """ImageNet's classifier rows, moved to where features lie, must match their names."""
        chosen = torch.from_numpy(rng.choice(len(self.rows), 256, replace=False))
        rows = F.normalize(self.rows[chosen], dim=-1)
        strength = torch.from_numpy(rng.uniform(4, 12, (256, 1)).astype(np.float32))
        features = (mean + strength * rows).clamp(0, 6)
        texts = self.texts.imagenet[int(rng.integers(3))]
        return F.cross_entropy(scale * self._cosines(self.model.image_map(features), texts), chosen)

    def train(self, work: Path, minutes: float, steps: int, batch: int, rate: float) -> None:
        """Train until `steps` or the time is up, saving state to resume from as it goes."""
        optimiser = self.optimiser(rate)
        path = work / "encoder-state.pt"
        start = self._load(path, optimiser)
        began = saved = time.monotonic()
        sums: dict[str, float] = {}
        step = start
        for step in range(start, steps):
            elapsed = time.monotonic() - began
            if elapsed > 60 * minutes:
                break
            for group in optimiser.param_groups:
                group["lr"] = rate * group["scale"] * _schedule(step, steps)
            losses = self.losses(np.random.default_rng((1, step)), batch)
            optimiser.zero_grad()
            losses.total().backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), 5.0)
            optimiser.step()
            for name, value in vars(losses).items():
                sums[name] = sums.get(name, 0.0) + float(value.detach())
            if step % 100 == 99:
                shown = {name: round(value / 100, 3) for name, value in sums.items()}
                log.info("step %d, %.0f s: %s, scale %.1f", step + 1, elapsed, shown,
                         float(self.model.log_scale.detach().exp()))  # fmt: skip
                sums = {}
            if time.monotonic() - saved > 120:
                self._save(path, step + 1, optimiser)
                saved = time.monotonic()
        else:
            step = steps
        self._save(path, step, optimiser)

    def _save(self, path: Path, step: int, optimiser: torch.optim.Optimizer) -> None:
        state = {
            "step": step,
            "model": self.model.state_dict(),
            "optimiser": optimiser.state_dict(),
        }
        with replacing(path) as part:
            torch.save(state, part)

    def _load(self, path: Path, optimiser: torch.optim.Optimizer) -> int:
        """Resume from `path` where there is one; returns the step to go on with."""
        if not path.is_file():
            return 0
        state = torch.load(path, map_location="cpu", weights_only=True)
        self.model.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
        return int(state["step"])


def _schedule(step: int, steps: int) -> float:
    """Linear warm-up over 200 steps, then half a cosine down to a fiftieth."""
    if step < 200:
        return (step + 1) / 200
    return 0.02 + 0.98 * 0.5 * (1 + float(np.cos(np.pi * (step - 200) / max(steps - 200, 1))))


_PARTS = (
    "id", "context", "near-natural", "near-made", "validation-near", "validation-far", "faces",
    "symbols", "none",
)  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    """Command: python -m tools.mini.train_encoder --work DIR [--minutes M] [--steps N]."""
    import argparse

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--steps", type=int, default=1100)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rate", type=float, default=4e-4)
    parser.add_argument("--threads", type=int, default=1)
    options: Any = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(options.threads)
    work: Path = options.work
    trainer = EncoderTrainer(
        work, work / "efficientnet-lite0.pth", work / "photos", work / "artwork.zip"
    )
    trainer.train(work, options.minutes, options.steps, options.batch, options.rate)


if __name__ == "__main__":
    main()
