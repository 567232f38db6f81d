"""A finished run's images painted once more, under another guidance."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from synood.benchmark.protocol.retune import guide_of
from synood.files import fingerprint
from synood.pipeline import run as pipeline
from synood.pipeline.rundir.quarantine import refuse
from synood.pipeline.stages import stages
from synood.pipeline.stages.painting import Painter
from synood.pipeline.stages.target import energies_of, with_own_target

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from synood.benchmark.protocol.fit_inputs import FitInputs
    from synood.benchmark.protocol.retune import ImagePair
    from synood.features.unreadable import Unreadable
    from synood.pipeline.rundir.shards import Order, Synthetic
    from synood.pipeline.rundir.workspace import Workspace
    from synood.settings import GuidanceSettings


def repaint(
    name: str,
    settings: GuidanceSettings,
    pairs: Sequence[ImagePair],
    inputs: FitInputs,
    workspace: Workspace,
) -> list[Synthetic]:
    """Paint each of the run's images under `settings`, or find them painted in their folder `name`.

    Prompts and seeds are the run's own, so images differ by the guidance alone. A target that is
    a quantile is one of these images' energies, by whoever guides.
    """
    orders = repainting_orders(settings, pairs, inputs)

    def painter() -> Painter:
        models, recipe = inputs.models, replace(inputs.recipe, guidance=settings)
        names, classifier = inputs.class_names, inputs.classifier
        guide = guide_of(recipe, models, inputs.store, names, classifier)
        size = models.inpainter.image_size

        def judge(
            batches: Sequence[Sequence[Order]],
        ) -> Iterator[tuple[int, list[float | Unreadable]]]:
            return enumerate(energies_of(guide, batch, size, settings) for batch in batches)

        fitted = with_own_target(settings, orders, judge, workspace, refuse)
        return Painter(models.inpainter, guide, fitted, pipeline.BATCH_SIZE)

    return stages.synthesize(workspace.root / "controls" / name, orders, painter, workspace)


def repainting_orders(
    settings: GuidanceSettings, pairs: Sequence[ImagePair], inputs: FitInputs
) -> list[Order]:
    """Return the run's orders, restamped with the guidance and with all that guides by it."""
    recipe, mark = inputs.recipe, inputs.models.bundle.fingerprint
    by_margin = settings.objective == "margin"
    labels = (asdict(recipe.mining), recipe.score.temperature, mark) if by_margin else ()
    stamp = fingerprint("repaint", asdict(settings), labels)
    orders = [item.order() for item in pairs]
    return [replace(order, inputs=fingerprint(stamp, order.inputs)) for order in orders]
