"""Where the boundary lies: the energy up to which pictures are pushed, whoever judges them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from synood.errors import InputError
from synood.features.unreadable import Unreadable, map_or_unreadable, map_padded
from synood.pipeline.executors.local import in_order
from synood.pipeline.rundir.quarantine import Bad

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray
    from PIL.Image import Image

    from synood.models.guide import Guide
    from synood.pipeline.rundir.quarantine import Lose
    from synood.pipeline.rundir.shards import Order, Synthetic
    from synood.pipeline.rundir.workspace import Workspace
    from synood.settings import GuidanceSettings

AT_ONCE = 16


class CompanyChanged(Exception):  # noqa: N818 - no error: the painting is ordered again
    """Images that the target depends on are gone."""


def with_own_target(
    settings: GuidanceSettings,
    orders: Sequence[Order],
    judge: Callable[[Sequence[Sequence[Order]]], Iterator[tuple[int, list[float | Unreadable]]]],
    workspace: Workspace,
    lose: Lose,
) -> GuidanceSettings:
    """Put the wanted quantile of the in-distribution images' energies in the place of `target`.

    A target made for one guide means nothing for another: energies are in the unit of its logits.
    `judge` gives the energies of batches of orders. Without `target_quantile` the
    settings come back as they are.

    Raises `CompanyChanged` when images were lost: the target is that of the others, and what is
    painted towards it another picture.
    """
    if settings.target_quantile is None:
        return settings
    batches = [orders[start : start + AT_ONCE] for start in range(0, len(orders), AT_ONCE)]
    found = [value for values in in_order(judge(batches)) for value in values]
    bad = [
        Bad(order.id, order.source, value.reason)
        for order, value in zip(orders, found, strict=True)
        if isinstance(value, Unreadable)
    ]
    if bad:
        lose("synthesize", bad)
        raise CompanyChanged
    target = round(float(np.quantile(np.asarray(found, np.float32), settings.target_quantile)), 6)
    workspace.notify(
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
    if guided and settings.objective != "uniformity" and 2 * idle > len(pictures):
        workspace.notify(
            "synthesize",
            f"{idle} of {len(pictures)} pictures were beyond guidance.target from the start and "
            "so were not guided; --set guidance.target_quantile=0.95 fits the target to what "
            "guides them",
        )


def check_target(settings: GuidanceSettings) -> None:
    """Raise an `InputError` for fields of the guidance that make no sense together."""
    if settings.target_quantile is not None and settings.objective == "uniformity":
        raise InputError(
            "guidance.target_quantile: needs the objective 'energy' or 'margin', not 'uniformity'"
        )
    if settings.temperature != 1 and settings.objective == "margin":
        raise InputError(
            "guidance.temperature: is the classifier's; the objective 'margin' is at "
            "score.temperature"
        )


def energies_of(
    guide: Guide, orders: Sequence[Order], size: int, settings: GuidanceSettings
) -> list[float | Unreadable]:
    """Return the energy of each order's in-distribution image, seen at the painter's size."""

    def judged(pixels: list[NDArray[np.float32]]) -> list[float]:
        return energies(guide, np.stack(pixels), settings)

    return map_padded(squares(orders, size), judged, AT_ONCE)


def energies(guide: Guide, pixels: NDArray[np.float32], settings: GuidanceSettings) -> list[float]:
    """Return the energy of each image of `pixels` (B, 3, S, S) in [0, 1]."""
    import torch

    from synood.synthesis.objectives import ENERGIES

    with torch.no_grad():
        logits = guide.logits(torch.from_numpy(pixels))
        found: list[float] = ENERGIES[settings.objective](logits, settings.temperature).tolist()
    return found


def squares(orders: Sequence[Order], size: int) -> list[NDArray[np.float32] | Unreadable]:
    """Read each order's image as `square` gives it; it must hold the bytes that were chosen."""
    from synood.images.decoding import read_image

    return map_or_unreadable(
        lambda order: square(read_image(order.source, order.sha256), size), orders
    )


def square(image: Image, size: int) -> NDArray[np.float32]:
    """Return the whole image as (3, size, size) in [0, 1], its shape given up.

    As in the authors' code (datasets.py:77-78).
    """
    from synood.images.presets import Preprocess

    return Preprocess("painter", size, "bicubic", "squash", (0.0,) * 3, (1.0,) * 3).pixels(image)
