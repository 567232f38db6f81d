"""Target: the energy up to which images are pushed, in the unit of what guides them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from synood.errors import InputError
from synood.executor import in_order
from synood.pipeline.executors.synthesizer import MEASURE_BATCH
from synood.pipeline.executors.tasks import MeasureEnergies

if TYPE_CHECKING:
    from collections.abc import Sequence

    from synood.features.unreadable import Unreadable
    from synood.models.guide import GuideSpec
    from synood.pipeline.executors.synthesizer import SourceImage
    from synood.pipeline.rundir.shards import SynthesisRequest, SyntheticImage
    from synood.pipeline.rundir.workspace import Workspace
    from synood.pipeline.stages.context import RunContext
    from synood.settings import GuidanceSettings, Recipe

KEPT_PIXELS = 2**30  # bytes of source images kept in memory; beyond that they are read again


def check_guidance(settings: GuidanceSettings) -> None:
    """Raise an `InputError` for guidance fields that make no sense together."""
    if settings.target_quantile is not None and settings.objective in ("uniformity", "msp"):
        raise InputError(
            "guidance.target_quantile: needs the objective 'energy' or 'margin', not "
            f"{settings.objective!r}"
        )
    if settings.temperature != 1 and settings.objective == "margin":
        raise InputError(
            "guidance.temperature: is the classifier's; the objective 'margin' is at "
            "score.temperature"
        )


def without_gradient(recipe: Recipe) -> str | None:
    """Return a sentence where the objective has no gradient, so that nothing will be guided."""
    objective = recipe.guidance.objective
    if recipe.synthesis.method != "inpaint" or objective != "msp":  # objectives.FLAT, without torch
        return None
    return f"guidance.objective {objective!r} has no gradient: images are as without guidance"


def measure_energies(
    run: RunContext, requests: Sequence[SynthesisRequest], guide: GuideSpec
) -> list[SourceImage | Unreadable]:
    """Measure the energy of each request's in-distribution image."""
    size = run.models.inpainter.image_size
    keep = len(requests) * size * size * 3 <= KEPT_PIXELS
    task = MeasureEnergies(run.models, guide, size, run.recipe.guidance, keep)
    starts = range(0, len(requests), MEASURE_BATCH)
    batches = [requests[start : start + MEASURE_BATCH] for start in starts]
    return [source for batch in in_order(run.executor.run(task, batches)) for source in batch]


def with_quantile_target(
    settings: GuidanceSettings, sources: Sequence[SourceImage], workspace: Workspace
) -> GuidanceSettings:
    """Replace `target` by the `target_quantile` of the in-distribution images' energies.

    A target made for one guide means nothing for another: energies are in the unit of its logits.
    """
    assert settings.target_quantile is not None
    energies = np.array([source.energy for source in sources], np.float32)
    target = round(float(np.quantile(energies, settings.target_quantile)), 6)
    workspace.notify(
        "synthesize",
        f"guidance.target is {target:.3f}, the {settings.target_quantile:g} quantile of the "
        "in-distribution images' energies",
        target=target,
    )
    return replace(settings, target=target)


def notify_if_idle(
    settings: GuidanceSettings, images: Sequence[SyntheticImage], workspace: Workspace
) -> None:
    """Say so when most images had reached the target before any guidance: none was done then."""
    judged = slice(0, -1 if settings.method == "step" else 1)  # before anything was moved
    idle = sum(not any(image.losses[judged]) for image in images if image.losses)
    if settings.uses_gradient and settings.objective != "uniformity" and 2 * idle > len(images):
        workspace.notify(
            "synthesize",
            f"{idle} of {len(images)} images were beyond guidance.target from the start and so "
            "were not guided; --set guidance.target_quantile=0.95 fits the target to what guides "
            "them",
        )
