"""Where the boundary lies: the energy up to which the classifier at hand is pushed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from synood.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from PIL.Image import Image

    from synood.models.classifier import Classifier
    from synood.pipeline._shards import Order, Synthetic
    from synood.pipeline._workspace import Workspace
    from synood.settings import GuidanceSettings

AT_ONCE = 16


def with_own_target(
    settings: GuidanceSettings,
    orders: Sequence[Order],
    judge: Callable[[Sequence[Sequence[Order]]], Iterator[list[float]]],
    workspace: Workspace,
) -> GuidanceSettings:
    """Put the wanted quantile of the in-distribution images' energies in the place of `target`.

    A target made for one classifier means nothing for another: energies are in the unit of its
    logits. `judge` yields the energies of each batch of orders. Without `target_quantile` the
    settings come back as they are.
    """
    if settings.target_quantile is None:
        return settings
    batches = [orders[start : start + AT_ONCE] for start in range(0, len(orders), AT_ONCE)]
    found = [value for values in judge(batches) for value in values]
    target = round(float(np.quantile(np.asarray(found, np.float32), settings.target_quantile)), 6)
    workspace.say(
        "synthesize",
        f"guidance.target is {target:.3f}, the {settings.target_quantile:g} quantile of the "
        "in-distribution images' energies",
        target=target,
    )
    return replace(settings, target=target)


def tell_if_idle(
    settings: GuidanceSettings, pictures: Sequence[Synthetic], workspace: Workspace
) -> None:
    """Say so when most pictures had reached the target before any guidance: none was done then."""
    guided = settings.step_size != 0 and settings.rounds > 1
    idle = sum(picture.losses[:1] == (0.0,) for picture in pictures)
    if guided and settings.objective == "energy" and 2 * idle > len(pictures):
        workspace.say(
            "synthesize",
            f"{idle} of {len(pictures)} pictures were beyond guidance.target from the start and "
            "so were not guided; --set guidance.target_quantile=0.95 fits the target to the "
            "classifier",
        )


def check_target(settings: GuidanceSettings) -> None:
    """Raise an `InputError` for a quantile beside an objective that has no energy."""
    if settings.target_quantile is not None and settings.objective != "energy":
        raise InputError(
            f"guidance.target_quantile: needs the objective 'energy', not {settings.objective!r}"
        )


def energies(
    classifier: Classifier, orders: Sequence[Order], size: int, temperature: float
) -> list[float]:
    """Return the energy of each order's in-distribution image at `size` x `size`."""
    import torch

    from synood.images.reading import read_image
    from synood.synthesis.objectives import energy

    pixels = torch.from_numpy(np.stack([square(read_image(o.source), size) for o in orders]))
    with torch.no_grad():
        found: list[float] = energy(classifier.logits(pixels), temperature).tolist()
    return found


def square(image: Image, size: int) -> np.ndarray:
    """Return the whole image as (3, size, size) in [0, 1], its shape given up.

    As in the authors' code (datasets.py:77-78).
    """
    from synood.images.reading import Preprocess

    return Preprocess("painter", size, "bicubic", "squash", (0.0,) * 3, (1.0,) * 3).pixels(image)
