"""The tuning of the paper's run at its size, on random features, and its rows of `synood bench`."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from synood.benchmark.speed.data import row_of
from synood.benchmark.speed.timing import Timed, compare
from synood.settings import NegativeSettings, ProjectionSettings
from synood.tuning.negatives import tune_negatives
from synood.tuning.projection import tune_projection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import torch
    from numpy.typing import NDArray

    from synood.tuning.loop import Callback, Settings
    from synood.tuning.projection import Projection

PAPER = {"images": 50_000, "classes": 1_000, "negatives": 5_620, "dim": 512}
"""ImageNet's 1,000 classes x 50 images, each redrawn; negatives that belong to a drawn image."""


@dataclass(frozen=True, eq=False)
class TuningWork:
    """What both tunings take: n images, n synthetic ones, C class names and M' used negatives.

    At `PAPER` size that is 100,000 features of 512 against 6,620 texts: 2,346 steps of the
    projection and 1,955 of the negatives.
    """

    images: NDArray[np.float32]  # (n, D), as all of these
    synthetic: NDArray[np.float32]
    classes: NDArray[np.float32]  # (C, D)
    negatives: NDArray[np.float32]  # (M', D)
    targets: NDArray[np.int64]  # (n,), of the images, below C
    synthetic_targets: NDArray[np.int64]  # (n,), below M'

    @classmethod
    def random(cls, images: int, classes: int, negatives: int, dim: int) -> TuningWork:
        """Draw unit features, the same in every call."""
        rng = np.random.default_rng(0)

        def unit(rows: int) -> NDArray[np.float32]:
            features = rng.standard_normal((rows, dim), np.float32)
            features /= np.linalg.norm(features, axis=1, keepdims=True)
            return features

        return cls(
            unit(images),
            unit(images),
            unit(classes),
            unit(negatives),
            rng.integers(classes, size=images),
            rng.integers(negatives, size=images),
        )

    def tune_projection(self, callback: Callback | None = None) -> Projection:
        """Tune the projection with the paper's settings."""
        return tune_projection(
            self.images,
            self.targets,
            self.synthetic,
            self.synthetic_targets,
            self.classes,
            self.negatives,
            ProjectionSettings(),
            seed=0,
            callback=callback,
        )

    def tune_negatives(self, callback: Callback | None = None) -> NDArray[np.float32]:
        """Tune the negatives with the paper's settings; returns (M', D)."""
        return tune_negatives(
            self.synthetic,
            self.synthetic_targets,
            self.negatives,
            NegativeSettings(),
            seed=0,
            callback=callback,
        )


STEPS = 25
"""Steps that are timed where not all are."""


class _EnoughError(Exception):
    """The steps to be timed are made."""


def stopped(tune: Callable[[Callback], object], enough: Callable[[int], bool]) -> tuple[int, int]:
    """Tune until so many steps are `enough`, or to the end; return steps made and steps in all."""
    seen = 0, 0

    def note(step: int, steps: int, _: float) -> None:
        nonlocal seen
        seen = step, steps
        if enough(step):
            raise _EnoughError

    with suppress(_EnoughError):
        tune(note)
    return seen


def plain_projection(work: TuningWork, steps: int | None = None) -> torch.Tensor:
    """Tune the projection in a plain loop; returns its weight (D, D)."""
    import torch
    import torch.nn.functional as F

    settings, dim = ProjectionSettings(), work.classes.shape[1]
    texts = F.normalize(torch.tensor(np.concatenate([work.classes, work.negatives])))
    images = torch.tensor(np.concatenate([work.images, work.synthetic]))
    theirs = work.synthetic_targets + len(work.classes)
    targets = torch.tensor(np.concatenate([work.targets, theirs]))
    generator, bound = torch.Generator().manual_seed(0), dim**-0.5
    weight = torch.empty(dim, dim).uniform_(-bound, bound, generator=generator).requires_grad_()
    bias = torch.empty(dim).uniform_(-bound, bound, generator=generator).requires_grad_()
    gain, shift = torch.ones(dim, requires_grad=True), torch.zeros(dim, requires_grad=True)
    adam = torch.optim.Adam([weight, bias, gain, shift], weight_decay=settings.weight_decay)
    for batch, rate in _batches(len(images), settings, steps):
        adam.param_groups[0]["lr"] = rate
        rows = images[batch]
        residual = F.layer_norm(F.linear(rows, weight, bias), (dim,), gain, shift).relu()
        logits = settings.logit_scale * F.normalize(rows + residual) @ texts.T
        adam.zero_grad()
        F.cross_entropy(logits, targets[batch]).backward()  # type: ignore[no-untyped-call]
        adam.step()
    return weight.detach()


def plain_negatives(work: TuningWork, steps: int | None = None) -> torch.Tensor:
    """Tune the negatives in a plain loop; returns (M', D)."""
    import torch
    import torch.nn.functional as F

    settings = NegativeSettings()
    free = torch.tensor(work.negatives, requires_grad=True)
    images = F.normalize(torch.tensor(work.synthetic))
    targets = torch.tensor(work.synthetic_targets)
    sgd = torch.optim.SGD([free], momentum=settings.momentum, weight_decay=settings.weight_decay)
    for batch, rate in _batches(len(images), settings, steps):
        sgd.param_groups[0]["lr"] = rate
        logits = settings.logit_scale * images[batch] @ F.normalize(free).T
        sgd.zero_grad()
        F.cross_entropy(logits, targets[batch]).backward()  # type: ignore[no-untyped-call]
        sgd.step()
    return free.detach()


def _batches(
    rows: int, settings: Settings, steps: int | None
) -> Iterator[tuple[torch.Tensor, float]]:
    """Yield the rows of each step and its learning rate, half a cosine over the epochs."""
    import torch

    shuffle, step = np.random.default_rng(0), 0
    low, high = settings.final_learning_rate, settings.learning_rate
    for epoch in range(settings.epochs):
        rate = low + (high - low) * (1 + math.cos(math.pi * epoch / settings.epochs)) / 2
        order = torch.tensor(shuffle.permutation(rows))
        for batch in torch.split(order, settings.batch_size):
            if step == steps:
                return
            yield batch, rate
            step += 1


def tuning(folder: Path, runs: int) -> list[Timed]:
    """The first steps of both tunings, beside plain loops of torch."""
    work = TuningWork.random(**PAPER)
    return [*_timed(work, STEPS, partial(compare, runs=runs))]


def tuning_in_full(folder: Path, runs: int) -> list[Timed]:
    """Both tunings from start to end, once each, whatever the `runs`."""
    work = TuningWork.random(**PAPER)
    return [*_timed(work, None, partial(compare, runs=1, warm=False))]


def _timed(
    work: TuningWork,
    steps: int | None,
    compare: Callable[[dict[str, Callable[[], object]]], dict[str, float]],
) -> Iterator[Timed]:
    rows = len(work.images)
    for name, tune, plain, settings, images in (
        ("projection", work.tune_projection, plain_projection, ProjectionSettings(), 2 * rows),
        ("negatives", work.tune_negatives, plain_negatives, NegativeSettings(), rows),
    ):
        every = settings.epochs * math.ceil(images / settings.batch_size)
        made = f"all {every:,} steps" if steps is None else f"{steps} of {every:,} steps"
        functions: dict[str, Callable[[], object]] = {
            "ours": partial(stopped, tune, lambda step: step == steps),
            "a plain loop of torch": partial(plain, work, steps),
        }
        yield row_of("tuning", f"{name}, {images:,} images, {made}", compare(functions))
