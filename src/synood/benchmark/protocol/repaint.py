"""Redraws the images of a finished run under another guidance."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from synood.benchmark.protocol.retune import recipe_guide, seeded_name
from synood.files import fingerprint
from synood.pipeline.executors.synthesizer import BatchSynthesizer, SourceImage, measure_sources
from synood.pipeline.rundir.quarantine import bad_images, refuse
from synood.pipeline.stages.synthesize import BATCH_SIZE, synthesize_here
from synood.pipeline.stages.target import with_quantile_target
from synood.settings import identity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from synood.benchmark.protocol.fit_inputs import FitInputs
    from synood.benchmark.protocol.retune import ImagePair
    from synood.pipeline.rundir.shards import SynthesisRequest, SyntheticImage
    from synood.pipeline.rundir.workspace import Workspace
    from synood.settings import GuidanceSettings


def repaint(
    name: str,
    settings: GuidanceSettings,
    pairs: Sequence[ImagePair],
    inputs: FitInputs,
    workspace: Workspace,
    seed: int | None = None,
) -> list[SyntheticImage]:
    """Redraw each of the run's images under `settings`, or find them in their folder `name`.

    Prompts and seeds are the run's own, so images differ by the guidance alone; `seed` is that of
    another run. A target that is a quantile is that of these images' energies under the guide.
    """
    requests = repaint_requests(settings, pairs, inputs, seed)

    def make_synthesizer() -> BatchSynthesizer:
        models, recipe = inputs.models, replace(inputs.recipe, guidance=settings)
        guide = recipe_guide(recipe, models, inputs.store, inputs.class_names, inputs.classifier)
        own = settings
        if settings.target_quantile is not None:
            sources = measure_sources(guide, requests, models.inpainter.image_size, settings)
            refuse("synthesize", bad_images(requests, sources))
            readable = [source for source in sources if isinstance(source, SourceImage)]
            own = with_quantile_target(settings, readable, workspace)
        return BatchSynthesizer(models.inpainter, guide, own, BATCH_SIZE)

    directory = workspace.root / "controls" / seeded_name(name, seed)
    return synthesize_here(directory, requests, make_synthesizer, workspace)


def repaint_requests(
    settings: GuidanceSettings,
    pairs: Sequence[ImagePair],
    inputs: FitInputs,
    seed: int | None = None,
) -> list[SynthesisRequest]:
    """Return the run's requests, with fingerprints of the guidance and of what guides by it."""
    recipe, mark = inputs.recipe, inputs.models.bundle.fingerprint
    by_margin = settings.objective == "margin"
    labels = (identity(recipe.mining), recipe.score.temperature, mark) if by_margin else ()
    stamp = fingerprint("repaint", settings.effective(), labels)
    requests = [item.request(seed) for item in pairs]
    return [replace(request, inputs=fingerprint(stamp, request.inputs)) for request in requests]
