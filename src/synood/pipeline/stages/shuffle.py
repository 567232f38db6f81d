"""Shuffle: near-boundary images without an in-painting model, or none at all."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from synood.files import fingerprint
from synood.pipeline.executors.tasks import Shuffle
from synood.pipeline.rundir.shards import SynthesisRequest, read_synthetic, tidy
from synood.pipeline.stages.synthesize import BATCH_SIZE, image_seed, write_results
from synood.synthesis.jigsaw import GRID

if TYPE_CHECKING:
    from collections.abc import Sequence

    from synood.models.bundles import Bundle
    from synood.pipeline.rundir.selection import SelectedImage
    from synood.pipeline.rundir.shards import SyntheticImage
    from synood.pipeline.stages.context import RunContext
    from synood.settings import Recipe


def without_inpainter(recipe: Recipe, bundle: Bundle) -> tuple[Recipe, str | None]:
    """Return the recipe that a bundle can follow, and a sentence where that is another one."""
    if recipe.synthesis.method != "inpaint" or "inpainter" in bundle.spec:
        return recipe, None
    possible = replace(recipe, synthesis=replace(recipe.synthesis, method="jigsaw"))
    return possible, (
        f"bundle {bundle.name!r} has no in-painting model, so the near-boundary images are the "
        f"training images in shuffled pieces; --models {bundle.name}+painter=... takes a model"
    )


def shuffle(run: RunContext, images: Sequence[SelectedImage]) -> list[SyntheticImage]:
    """Return a jigsaw of each image, made where it is missing; nothing with the method "none".

    Images that cannot be read any more are quarantined.
    """
    directory = run.root / "synthesize"
    requests = [] if run.recipe.synthesis.method == "none" else _requests(run, images)
    found = read_synthetic(directory) if directory.is_dir() else {}
    missing = [request for request in requests if request.inputs not in found]
    if missing:
        size = run.models.encoder.image_size
        task = Shuffle(size - size % GRID)
        starts = range(0, len(missing), BATCH_SIZE)
        batches = [[(request, None) for request in missing[s : s + BATCH_SIZE]] for s in starts]
        results = run.executor.run(task, batches)
        done = len(requests) - len(missing)
        found |= write_results(directory, batches, results, run.workspace, run.quarantine, done)
    made = tidy(directory, found, [request for request in requests if request.inputs in found])
    run.progress("synthesize")(len(requests), len(requests), "")
    return made


def _requests(run: RunContext, images: Sequence[SelectedImage]) -> list[SynthesisRequest]:
    """Return a request for each image; the same image twice has two, which differ in their seed."""
    requests: list[SynthesisRequest] = []
    copies: dict[str, int] = {}
    encoder = run.models.part_fingerprint("encoder")
    for image in images:
        copy = copies[image.sha256] = copies.get(image.sha256, -1) + 1
        seed = image_seed(run.seed + copy, image.sha256)
        key = fingerprint("shuffle", GRID, encoder, image.sha256, seed, copy)
        requests.append(SynthesisRequest(image.id, image.path, image.sha256, "", seed, key))
    return requests
