"""A whole run: images of known classes -> a tuned detector, through a directory that can resume.

Each stage reads files, writes files, and does nothing that is already there. A row or file carries,
as `inputs`, the fingerprint of everything that could change it; what still carries the right one is
kept, everything else is made again.
"""

from __future__ import annotations

from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from synood.arrays import is_whole
from synood.errors import InputError
from synood.features.texts import check_long_names
from synood.files import readable
from synood.labels.class_names import checked_class_names
from synood.labels.lists import given_labels
from synood.labels.prompts import find_prompt_set
from synood.models.device import pick_device
from synood.models.loaded import Models
from synood.pipeline.executors.local import LocalExecutor
from synood.pipeline.overwrite import check_same_run
from synood.pipeline.recipe import LARGEST, resolve_recipe
from synood.pipeline.rundir.mirror import mirrored
from synood.pipeline.rundir.quarantine import MAX_BAD, Quarantine
from synood.pipeline.rundir.record import final_metrics, run_config
from synood.pipeline.rundir.runfile import write_run_file
from synood.pipeline.rundir.tracking import find_tracker, tracked
from synood.pipeline.rundir.workspace import STAGES, Workspace, open_run
from synood.pipeline.stages.assign import assign
from synood.pipeline.stages.context import RunContext
from synood.pipeline.stages.describe import describe
from synood.pipeline.stages.embed import embed_synthetic
from synood.pipeline.stages.guide import NAMES, GuideKind, choose_guide, for_one_class, guide_kind
from synood.pipeline.stages.images_alone import for_images_alone, images_alone
from synood.pipeline.stages.label_images import (
    label_images,
    paint_label_images,
    without_kinds,
)
from synood.pipeline.stages.mine import mine
from synood.pipeline.stages.released import named_as, not_for_these_classes
from synood.pipeline.stages.select import select
from synood.pipeline.stages.shuffle import shuffle, without_inpainter
from synood.pipeline.stages.synthesize import BATCH_SIZE, BatchSize, synthesize
from synood.pipeline.stages.target import check_guidance, without_gradient
from synood.pipeline.stages.tune import tune
from synood.progress import Progress, Tracker

if TYPE_CHECKING:
    from collections.abc import Iterator

    from synood.detector import OODDetector
    from synood.executor import Executor
    from synood.images.sources import ImageIndex
    from synood.labels.lists import GivenNegatives, LabelList
    from synood.models.bundles import Bundle
    from synood.models.describer import Describer
    from synood.pipeline.rundir.shards import SyntheticImage
    from synood.settings import Recipe

__all__ = ["BATCH_SIZE", "STAGES", "BatchSize", "Progress", "fit", "pick_device"]


def fit(
    index: ImageIndex,
    bundle: Bundle,
    recipe: Recipe | str | Path,
    run_dir: Path,
    seed: int = 0,
    progress: Progress | None = None,
    *,
    device: str = "auto",
    batch_size: BatchSize = BATCH_SIZE,
    max_bad: float = MAX_BAD,
    describer: Describer | None = None,
    executor: Executor | None = None,
    negatives: GivenNegatives | None = None,
    mirror: str | None = None,
    overwrite: bool = False,
    tracker: Tracker | str | None = None,
) -> OODDetector:
    """Make a detector from images with labels, by the whole method of the paper.

    Everything is kept in `run_dir`. An interrupted run goes on with the same call; with another
    recipe, seed or folder, what that changes is made again, but the detector of a finished run is
    replaced only with `overwrite`. On one machine the same input gives the same bytes, however
    often the run was interrupted.

    `batch_size` images are synthesized together ("auto": as many as fit into memory, found by
    trying); kernels may round differently at another batch size, which moves single pixels by one
    grey level. `describer` replaces the bundle's; `negatives` replace the mined negative labels,
    in the forms that `OODDetector.from_classes` takes. `device` is "auto" (the accelerator if there
    is one), "cpu" or another that torch knows. `executor` encodes, describes and synthesizes; by
    default this process does. `mirror` is the URL to mirror `run_dir` to; an empty
    `run_dir` is restored from it. `tracker` (trackio, wandb; `pipeline/rundir/tracking.py`) is sent
    progress, losses and what came out; it never stops the run.

    Images that cannot be read are skipped and listed in quarantine.jsonl, also those that vanish or
    change on the way; more than the fraction `max_bad` of them stop the run (0: the first does).
    Raises `InputError` for that, and before anything expensive for images, classes, a recipe or a
    directory that cannot be used.

    >>> index = folder_per_class(Path("photos"))  # doctest: +SKIP
    >>> fit(index, load_bundle("mini"), "paper", Path("runs/first"))  # doctest: +SKIP
    """
    checked_class_names(index.class_names)
    recipe = resolve_recipe(recipe, bundle.recipe_defaults)
    index = named_as(recipe, index)
    check_guidance(recipe.guidance)
    for name in (recipe.mining.prompt_set, recipe.projection.class_prompt_set):
        find_prompt_set(name or recipe.mining.prompt_set)
    if batch_size != "auto" and not (is_whole(batch_size) and batch_size >= 1):
        raise InputError(f"batch size: must be at least 1, or 'auto', not {batch_size!r}")
    if not (is_whole(seed) and 0 <= seed <= LARGEST):
        raise InputError(f"seed: must be from 0 to {LARGEST:,}, not {seed!r}")
    models = Models(bundle, pick_device(device), describer)
    recipe, alone = for_images_alone(recipe, models, has_negatives=negatives is not None)
    recipe, remark = without_inpainter(recipe, bundle)
    recipe, guided_by = for_one_class(recipe, len(index.class_names))
    inpaints = recipe.synthesis.method == "inpaint"
    if describer is not None and not inpaints:
        raise InputError(
            f"describer: {recipe.synthesis.method!r} images need none, and bundle {bundle.name!r} "
            "is asked for no others; take an in-painting model by name (--models NAME+painter=...)"
        )
    models.check_parts(inpaints)
    if not (Path(run_dir) / "detector" / "config.json").is_file():  # a finished run loads nothing
        models.check_available(inpaints)
        if inpaints and recipe.guidance.method == "step":
            bundle.check_steerable()
        check_long_names(models, index.class_names, recipe.mining.prompt_set)
        if inpaints and not (Path(run_dir) / "describe.jsonl").is_file():
            models.check_describer()
    listed = None if negatives is None else given_labels(negatives)
    following = None if tracker is None else find_tracker(tracker)
    with open_run(Path(run_dir), progress) as workspace, mirrored(workspace, mirror):
        if not overwrite:
            given = None if listed is None else listed.id
            check_same_run(workspace.root, index, models, recipe, seed, given)
        workspace.log("start", images=readable(index.root), seed=seed, device=models.device)
        run = RunContext(
            workspace,
            models,
            recipe,
            index.class_names,
            seed,
            executor or LocalExecutor(),
            Quarantine(workspace, max_bad),
            overwrite,
        )
        notes = (
            without_kinds(recipe),
            without_gradient(recipe),
            not_for_these_classes(recipe, index),
        )
        for sentence in filter(None, (alone, remark, guided_by, *notes)):
            workspace.notify("synthesize", sentence)
        tracking = workspace.follow_with(following)
        config = run_config(models, recipe, index, seed)
        with _end_logged(workspace), tracked(tracking, workspace.root.resolve().name, config):
            detector = _run_stages(run, index, listed, batch_size)
            tracking.log(final_metrics(detector))
            return detector


def _run_stages(
    run: RunContext, index: ImageIndex, listed: LabelList | None, batch_size: BatchSize
) -> OODDetector:
    """Go through the stages in their order."""
    kind: GuideKind = guide_kind(run) if run.inpaints else "none"
    selection = select(run, index, with_probe=kind == "probe")

    def write_record() -> None:
        write_run_file(
            run.root / "run.toml",
            run.models,
            run.recipe,
            run.seed,
            run.class_names,
            selection.images,
            guide=NAMES[kind],
            negatives=None if listed is None else listed.id,
        )

    write_record()
    if not run.models.bundle.reads_texts:
        return images_alone(run, selection)
    negatives = mine(run, listed)
    more: dict[str, list[SyntheticImage]] = {}
    if run.inpaints:
        guide = choose_guide(run, kind, selection, negatives)
        prompts = describe(run, selection)
        to_redraw = selection.without(run.quarantine).used_for("tune")
        synthetic = synthesize(run, to_redraw, prompts, guide, batch_size)
    else:
        synthetic = shuffle(run, selection.without(run.quarantine).used_for("tune"))
    features = embed_synthetic(run, synthetic)
    assignment = assign(run, synthetic, features, negatives)
    if run.inpaints:
        to_redraw = selection.without(run.quarantine).used_for("tune")
        more = paint_label_images(run, to_redraw, prompts, guide, batch_size)
    of_labels = label_images(run, more, synthetic, assignment)
    write_record()  # again: what came from a hub is known by now
    left = selection.without(run.quarantine)
    return tune(run, left, features, negatives, assignment, of_labels)


@contextmanager
def _end_logged(workspace: Workspace) -> Iterator[None]:
    """Log how the block ends: done, stopped by hand, or failed."""
    try:
        yield
    except BaseException as error:
        with suppress(OSError):  # of a full disk: it must not hide what ended the run
            stopped = isinstance(error, KeyboardInterrupt)
            reason = "interrupted" if stopped else f"{type(error).__name__}: {error}"
            workspace.log("stopped" if stopped else "failed", error=reason)
        raise
    workspace.log("done")
