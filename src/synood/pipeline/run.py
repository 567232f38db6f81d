"""A whole run: images of known classes -> a tuned detector, through a directory that can resume."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from synood.errors import InputError
from synood.features.extractor import ImageFile
from synood.features.store import FeatureStore
from synood.features.unreadable import Unreadable
from synood.files import fingerprint, read_json, readable, write_json
from synood.labels.class_names import checked_class_names
from synood.labels.imagenet import same_classes
from synood.labels.lists import given_labels
from synood.labels.prompts import find_prompt_set
from synood.models.device import pick_device
from synood.models.loaded import Models
from synood.pipeline.executors.local import LocalExecutor
from synood.pipeline.executors.tasks import Encode, Judge, Paint, Probe, TryOut
from synood.pipeline.recipe import resolve_recipe
from synood.pipeline.rundir.mirror import mirrored
from synood.pipeline.rundir.overwrite import check_same_run
from synood.pipeline.rundir.quarantine import MAX_BAD, Bad, Quarantine
from synood.pipeline.rundir.runfile import write_run_file
from synood.pipeline.rundir.workspace import STAGES, Workspace, opened
from synood.pipeline.stages import stages
from synood.pipeline.stages.guide import guide_name, margin_guide
from synood.pipeline.stages.painting import Crew
from synood.pipeline.stages.select import Picture, is_learnt, select
from synood.pipeline.stages.target import (
    CompanyChanged,
    check_target,
    tell_if_idle,
    with_own_target,
)
from synood.pipeline.stages.tune import TuningData, assemble, calibrate, unit
from synood.progress import Progress, no_progress

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from synood.detector.ood_detector import OODDetector
    from synood.images.sources import ImageIndex
    from synood.labels.lists import GivenNegatives, LabelList
    from synood.labels.negatives import Negatives
    from synood.models.bundles import Bundle
    from synood.models.classifier import Classifier
    from synood.models.describer import Describer
    from synood.pipeline.executors.local import Executor
    from synood.pipeline.executors.tasks import Guiding
    from synood.pipeline.rundir.shards import Synthetic
    from synood.progress import StageProgress
    from synood.settings import Recipe

__all__ = ["BATCH_SIZE", "STAGES", "Progress", "fit", "pick_device"]

BATCH_SIZE = 8  # pictures painted at a time
BatchSize: TypeAlias = int | Literal["auto"]


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
) -> OODDetector:
    """Make a detector from images with labels, by the whole method of the paper.

    Everything is kept in `run_dir`. Interrupted at any moment, the same call goes on where it
    stopped; with another recipe, seed or folder it makes anew what that changes, but replaces the
    detector of a finished run only with `overwrite`. The same input
    gives the same bytes of pictures and detector on one machine, however often it was stopped.
    `batch_size` pictures are painted at a time ("auto": the largest number that fits, found by
    trying; fewer than asked for where memory runs out); another number, or other pictures in the
    batch, may move a few pixels by one grey level, since kernels round otherwise. `describer`
    replaces the bundle's, and `negatives` those that would be mined: what
    `OODDetector.from_classes` takes. `executor` describes, paints and encodes images; without
    one, this process does. `device` is "auto" (the accelerator if there is one), "cpu" or another
    that torch knows. `mirror` is the URL of a copy that is kept of `run_dir`, and from which
    an empty `run_dir` is filled first.

    Images that cannot be read are left out and listed in quarantine.jsonl, also those that vanish
    or change while the run goes on; more than the share `max_bad` of them stop it, 0 stops at the
    first. Raises `InputError` for that, and for images, classes, recipe or directory that cannot
    be used, before anything expensive.

    >>> index = folder_per_class(Path("photos"))  # doctest: +SKIP
    >>> fit(index, load_bundle("mini"), "paper", Path("runs/first"))  # doctest: +SKIP
    """
    checked_class_names(index.class_names)
    recipe = resolve_recipe(recipe, bundle.recipe_defaults)
    check_target(recipe.guidance)
    for name in (recipe.mining.prompt_set, recipe.projection.class_prompt_set):
        find_prompt_set(name or recipe.mining.prompt_set)
    if batch_size != "auto" and batch_size < 1:
        raise InputError(f"batch size: must be at least 1, not {batch_size}")
    models = Models(bundle, pick_device(device), describer)
    models.check_parts()
    if not (Path(run_dir) / "detector" / "config.json").is_file():  # a finished run loads nothing
        models.check_available()
    listed = None if negatives is None else given_labels(negatives)
    with opened(Path(run_dir), progress) as workspace, mirrored(workspace, mirror):
        if not overwrite:
            given = None if listed is None else listed.id
            check_same_run(workspace.root, index, models, recipe, seed, given)
        workspace.log("start", images=readable(index.root), seed=seed, device=models.device)
        try:
            chosen = executor or LocalExecutor()
            quarantine = Quarantine(workspace, max_bad)
            run = _Run(
                workspace, models, recipe, index.class_names, seed, chosen, quarantine, listed
            )
            detector = run.detector(index, batch_size)
        except BaseException as error:
            with suppress(OSError):  # of a full disk: it must not hide what ended the run
                stopped = isinstance(error, KeyboardInterrupt)
                told = "interrupted" if stopped else f"{type(error).__name__}: {error}"
                workspace.log("stopped" if stopped else "failed", error=told)
            raise
        workspace.log("done")
    return detector


class _Run:
    """What the stages of one run share; the methods go through them in order."""

    def __init__(
        self,
        workspace: Workspace,
        models: Models,
        recipe: Recipe,
        class_names: tuple[str, ...],
        seed: int,
        executor: Executor,
        quarantine: Quarantine,
        listed: LabelList | None,
    ) -> None:
        self.workspace = workspace
        self.root = workspace.root
        self.models = models
        self.recipe = recipe
        self.class_names = class_names
        self.seed = seed
        self.executor = executor
        self.listed = listed
        self.quarantine = quarantine
        self.store = FeatureStore(
            self.root / "features",
            models.part_fingerprint("encoder"),
            lambda: models.encoder,
            lambda blocks: executor.run(Encode(models), blocks),
            device=models.device,
        )

    def detector(self, index: ImageIndex, batch_size: BatchSize) -> OODDetector:
        """Select, mine, describe, paint, encode, assign, tune."""
        recipe, stage = self.recipe, self.workspace.stage
        by_margin = recipe.guidance.objective == "margin"
        classifier = None if by_margin else self._own_classifier()
        probe = classifier is None and not by_margin
        pictures = select(self.workspace, index, recipe, probe, self.quarantine)
        self._write_run_file(pictures, probe)
        negatives = self._negatives()
        tuned_on = [picture for picture in pictures if "tune" in picture.uses]
        class_features = self._class_features(recipe.mining.prompt_set)
        guide: tuple[str, Callable[[], Guiding]]
        if by_margin:
            guide = margin_guide(recipe, self.models, self.class_names, class_features, negatives)
        else:
            guide = self._guide(classifier, pictures)
        synthetic = self._synthetic(tuned_on, guide, batch_size)
        features = self.store.images(
            [ImageFile(picture.path, picture.sha256) for picture in synthetic], stage("embed")
        )
        assignment = stages.assign(self.root / "assign.jsonl", synthetic, features, negatives)
        class_prompts = recipe.projection.class_prompt_set or recipe.mining.prompt_set
        id_features, id_targets = self._learnt([p for p in pictures if is_learnt(p)])
        data = TuningData(
            id_features=id_features,
            id_targets=id_targets,
            synthetic_features=features,
            class_features=class_features,
            projection_classes=self._class_features(class_prompts),
            negatives=negatives,
            assignment=assignment,
        )
        self._write_run_file(pictures, probe)  # again: what came from a hub is known by now
        return self._tuned(data, [p for p in pictures if "calibrate" in p.uses])

    def _negatives(self) -> Negatives:
        """Mine the negative labels, or take those of a list, saying what it holds."""
        mining, listed = self.recipe.mining, self.listed
        if listed is not None:
            taken = self.class_names if mining.exclude_class_names else ()
            listed, sentence = listed.without(taken)
            self.workspace.notify("mine", sentence)
        words = self.models.bundle.words() if listed is None else ()
        advance = self.workspace.stage("mine")
        return stages.mine(self.store, words, self.class_names, mining, advance, listed)

    def _own_classifier(self) -> Classifier | None:
        """Return the bundle's classifier if it knows these very classes, in whatever order."""
        if "classifier" not in self.models.bundle.spec:
            return None
        classifier = self.models.classifier
        if classifier and same_classes(classifier.class_names, self.class_names):
            return classifier
        return None

    def _write_run_file(self, pictures: Sequence[Picture], probe: bool) -> None:
        write_run_file(
            self.root / "run.toml",
            self.models,
            self.recipe,
            self.seed,
            self.class_names,
            pictures,
            guide=guide_name(self.recipe, probe),
            negatives=None if self.listed is None else self.listed.id,
        )

    def _guide(
        self, classifier: Classifier | None, pictures: Sequence[Picture]
    ) -> tuple[str, Callable[[], Probe | None]]:
        """Return the fingerprint of what guides the painting, and what trains a probe for it."""
        if classifier is not None:
            return classifier.fingerprint, lambda: None
        seen = [picture for picture in pictures if "probe" in picture.uses]
        self.workspace.notify(
            "probe",
            f"bundle {self.models.bundle.name!r} has no classifier for these "
            f"{len(self.class_names)} classes: a linear probe on the encoder's features of "
            f"{len(seen)} images takes its place",
        )
        there, features = self._features(seen, self.workspace.stage("probe"))

        def train() -> Probe:
            from synood.models.classifier import train_probe

            probe = train_probe(
                features, self._targets(there), self.class_names, self.models.encoder, self.seed
            )
            return Probe(probe.weight, probe.bias, probe.class_names)

        contents = [(picture.sha256, picture.label) for picture in there]
        encoder = self.models.part_fingerprint("encoder")
        return fingerprint("probe", contents, self.class_names, encoder, self.seed), train

    def _synthetic(
        self,
        tuned_on: Sequence[Picture],
        guide: tuple[str, Callable[[], Guiding]],
        batch_size: BatchSize,
    ) -> list[Synthetic]:
        """Describe and paint."""
        guide_print, make_guide = guide
        guidance, models, executor = self.recipe.guidance, self.models, self.executor
        prompts = stages.describe(
            self.root / "describe.jsonl",
            self._left(tuned_on),
            models,
            self.recipe.describe,
            self.workspace.stage("describe"),
            executor,
            self.quarantine,
        )
        left = [picture for picture in tuned_on if picture.id in prompts]
        prints = (models.inpainter_fingerprint, guide_print)
        orders = stages.painting_orders(
            left, [prompts[picture.id] for picture in left], self.seed, guidance, prints
        )

        def crew() -> Crew:
            guiding = make_guide()
            judge = Judge(models, guiding, models.inpainter.image_size, guidance)
            fitted = with_own_target(
                guidance,
                orders,
                lambda batches: executor.run(judge, batches),
                self.workspace,
                self.quarantine,
            )
            size = batch_size
            if size == "auto":
                ((_, size),) = executor.run(TryOut(models, guiding, fitted), [len(orders)])
                self.workspace.notify("synthesize", f"batch size {size} fits", batch_size=size)
            paint = Paint(models, guiding, fitted, size)
            return Crew(executor, paint, models.inpainter, size, self.workspace)

        try:
            pictures = stages.synthesize(
                self.root / "synthesize", orders, crew, self.workspace, self.quarantine
            )
        except CompanyChanged:
            return self._synthetic(left, guide, batch_size)
        tell_if_idle(guidance, pictures, self.workspace)
        return pictures

    def _learnt(self, pictures: Sequence[Picture]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return the features that the projection learns the classes from, and their targets."""
        features, targets = [], []
        for view in range(self.recipe.projection.views + 1):
            advance = self.workspace.stage("views") if view else no_progress
            there, rows = self._features(pictures, advance, view)
            features.append(rows)
            targets.append(self._targets(there))
        return np.concatenate(features), np.concatenate(targets)

    def _features(
        self, pictures: Sequence[Picture], advance: StageProgress = no_progress, view: int = 0
    ) -> tuple[list[Picture], NDArray[np.float32]]:
        """Return the pictures that are there still and their features."""
        left = self._left(pictures)
        files = [ImageFile(picture.path, picture.sha256, view) for picture in left]
        rows = self.store.images_or_unreadable(files, advance)
        pairs = [*zip(left, rows, strict=True)]
        bad = [Bad(p.id, p.path, row.reason) for p, row in pairs if isinstance(row, Unreadable)]
        self.quarantine("embed", bad)
        found = [(p, row) for p, row in pairs if not isinstance(row, Unreadable)]
        features = np.stack([row for _, row in found]) if found else np.zeros((0, 0), np.float32)
        return [picture for picture, _ in found], features

    def _left(self, pictures: Sequence[Picture]) -> list[Picture]:
        return self.quarantine.without(pictures, lambda picture: picture.id)

    def _class_features(self, prompt_set: str) -> NDArray[np.float32]:
        prompts = find_prompt_set(prompt_set).class_prompts(self.class_names)
        return unit(self.store.texts(prompts, no_progress))

    def _targets(self, pictures: Sequence[Picture]) -> NDArray[np.int64]:
        rows = {name: row for row, name in enumerate(self.class_names)}
        return np.array([rows[picture.label] for picture in pictures], dtype=np.int64)

    def _tuned(self, data: TuningData, held_out: Sequence[Picture]) -> OODDetector:
        """Tune, set the threshold and save; or read back the detector that is there already."""
        recipe = self.recipe
        inputs = fingerprint(
            "tune",
            data.fingerprint(),
            self.models.part_fingerprint("encoder"),
            self.class_names,
            asdict(recipe),
            [picture.sha256 for picture in held_out],
            self.seed,
        )
        detector = self._finished(inputs)
        if detector is None:
            detector = assemble(
                data, recipe, self.seed, self.models, self.class_names, self.workspace
            )
            there, features = self._features(held_out)
            detector = calibrate(detector, features, there, recipe, self.workspace)
            detector.save_pretrained(self.root / "detector")
            tuned = len(data.assignment.used)
            write_json(self.root / "tune.json", {"inputs": inputs, "tuned_negatives": tuned})
        return detector

    def _finished(self, inputs: str) -> OODDetector | None:
        """Return the detector on disk if it was made from `inputs` and is whole."""
        from synood.detector.ood_detector import OODDetector

        try:
            if read_json(self.root / "tune.json")["inputs"] != inputs:
                return None
            return OODDetector.from_pretrained(self.root / "detector", device=self.models.device)
        except (InputError, KeyError, TypeError):
            return None
