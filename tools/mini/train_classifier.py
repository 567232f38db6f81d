"""Trains the classifier whose energy guides the in-painting: a small ResNet on the world's scenes.

    python -m tools.mini.train_classifier --work DIR --minutes 12

The result, DIR/classifier, is a transformers ResNetForImageClassification in float16 with the
classic `preprocessor_config.json` beside it.
"""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional as F

from synood.files import replacing_directory, write_json
from synood.mini.concepts import spoken
from synood.mini.world import SIZE
from tools.mini.options import loop_settings, parser, prepare
from tools.mini.training import (
    Randomness,
    Run,
    half,
    to_signed,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from synood.mini.world import World

log = logging.getLogger(__name__)
VALIDATION_STREAM = 20_003


@dataclass(frozen=True)
class ClassifierSettings:
    """A ResNet of basic blocks; its stem halves twice, so 64 px become 16 x 16 at once."""

    widths: tuple[int, ...] = (48, 96, 160, 256)
    depths: tuple[int, ...] = (1, 2, 2, 1)
    still_share: float = 0.15


def build_classifier(settings: ClassifierSettings, names: Sequence[str]) -> Any:  # noqa: ANN401
    """Return an untrained transformers ResNetForImageClassification over `names`."""
    from transformers import ResNetConfig, ResNetForImageClassification

    config = ResNetConfig(
        embedding_size=settings.widths[0],
        hidden_sizes=list(settings.widths),
        depths=list(settings.depths),
        layer_type="basic",
        id2label=dict(enumerate(names)),
        label2id={name: index for index, name in enumerate(names)},
    )
    return ResNetForImageClassification(config)


def labelled_batch(
    world: World, rng: np.random.Generator, n: int, still_share: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return n in-distribution scenes, uint8 (n, 64, 64, 3), and their class numbers (n,)."""
    labels = rng.integers(len(world.classes), size=n)
    images = []
    for label in labels:
        name = world.classes[label]
        still = rng.random() < still_share
        images.append((world.still([name], rng) if still else world.scene(name, rng)).image)
    return np.stack(images), labels


def accuracy(model: Any, pixels: torch.Tensor, labels: np.ndarray) -> float:  # noqa: ANN401
    """Return the share of pixels (N, 3, S, S) in [-1, 1] that the model names right."""
    model.eval()
    with torch.no_grad():
        found = torch.cat([model(part).logits.argmax(1) for part in pixels.split(128)])  # type: ignore[no-untyped-call]
    return float((found.cpu().numpy() == labels).mean())


def export(model: Any, folder: Path) -> None:  # noqa: ANN401
    """Write the model in float16 with its preprocessing in the classic layout."""
    with replacing_directory(folder) as part:
        half(model).save_pretrained(part)  # type: ignore[operator]
        write_json(part / "preprocessor_config.json", {
            "image_processor_type": "ViTImageProcessor", "do_resize": True,
            "size": {"height": SIZE, "width": SIZE}, "resample": 2, "do_rescale": True,
            "rescale_factor": 1 / 255, "do_normalize": True,
            "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5],
        })  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    """Command: python -m tools.mini.train_classifier --work DIR."""
    options = parser("Train the classifier of the mini bundle.", 12).parse_args(arguments)
    world, device = prepare(options, "train_classifier")
    settings = ClassifierSettings()
    torch.manual_seed(options.seed)
    model = build_classifier(settings, [spoken(name) for name in world.classes]).to(device)
    batch_size = options.batch_size or 64
    run = Run(
        torch.nn.ModuleDict({"classifier": model}),
        loop_settings(options, learning_rate=2e-3),
        options.work / "train_classifier.state",
        {"batch_size": batch_size, **asdict(settings)},
    )
    rng = Randomness.of(options.seed, VALIDATION_STREAM).numpy
    images, labels = labelled_batch(world, rng, 560, still_share=0.0)
    pixels = to_signed(images, device)

    def loss_of(chance: Randomness) -> torch.Tensor:
        model.train()
        images, labels = labelled_batch(world, chance.numpy, batch_size, settings.still_share)
        logits = model(to_signed(images, device)).logits.float()
        return F.cross_entropy(logits, torch.from_numpy(labels).to(device))

    def check() -> None:
        average = run.averages["classifier"]
        for own, kept in zip(model.buffers(), average.buffers(), strict=True):
            kept.copy_(own)  # running statistics of the batch normalisations
        log.info("step %d  accuracy on unseen scenes %.3f", run.step,
                 accuracy(average, pixels, labels))  # fmt: skip
        export(average, options.work / "classifier")

    run.train(loss_of, check, batch_size)


if __name__ == "__main__":
    main()
