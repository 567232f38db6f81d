"""A finished run, taken up again: tune it under other seeds, or on other images.

Everything but the images and the seed is the run's own: the choice of images, prompts, mined
negatives, recipe. So what two detectors made here differ in is what they were meant to differ in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from synood.benchmark.protocol.controls import (
    NEG_IMAGE,
    ControlSynthesizer,
    as_labels,
    control_orders,
)
from synood.benchmark.protocol.fit_inputs import class_features
from synood.features.extractor import ImageFile
from synood.files import read_jsonl
from synood.pipeline import run as pipeline
from synood.pipeline.executors import tasks as work
from synood.pipeline.rundir.shards import Order, Synthetic, read_synthetic
from synood.pipeline.rundir.workspace import Workspace
from synood.pipeline.stages import stages
from synood.pipeline.stages.select import Picture, is_learnt
from synood.pipeline.stages.tune import TuningData, assemble, tune, unit
from synood.progress import no_progress
from synood.tuning.assignment import compact, nearest_negative

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from synood.benchmark.protocol.fit_inputs import FitInputs
    from synood.benchmark.protocol.methods import Method
    from synood.detector.ood_detector import OODDetector
    from synood.features.store import FeatureStore
    from synood.images.sources import ImageIndex
    from synood.models.classifier import Classifier
    from synood.models.guide import Guide
    from synood.models.loaded import Models
    from synood.pipeline.stages.tune import Tune
    from synood.settings import Recipe


@dataclass(frozen=True)
class ImagePair:
    """One image of the run: the in-distribution image and the synthetic one made of it."""

    source: Picture
    synthetic: Synthetic
    negative_prompt: str

    def order(self) -> Order:
        """Return what was ordered when the synthetic image was painted."""
        made, source = self.synthetic, self.source
        return Order(made.id, source.path, source.sha256, made.prompt, made.seed, made.inputs)


def read_pairs(run: Path, index: ImageIndex) -> list[ImagePair]:
    """Read the pairs of a run, in the order in which its images were selected."""
    made = {item.id: item for item in read_synthetic(run / "synthesize").values()}
    prompts = {row["id"]: row["prompt"] for row in read_jsonl(run / "assign.jsonl")}
    return [
        ImagePair(image, made[image.id], prompts[image.id])
        for image in _selected(run, index)
        if "tune" in image.uses and image.id in made  # others were left out on the way
    ]


def read_class_images(run: Path, index: ImageIndex) -> list[Picture]:
    """Read which images a run's projection learned the classes from, in the order of selection."""
    return [image for image in _selected(run, index) if is_learnt(image)]


def paint_control(
    control: Method,
    pairs: Sequence[ImagePair],
    synthesizer: Callable[[], ControlSynthesizer],
    workspace: Workspace,
) -> list[Synthetic]:
    """Paint a control's images, one for each of the run's, or find them painted in its folder.

    `synthesizer` is opened only when there is something to paint.
    """
    orders = control_orders(control, [item.order() for item in pairs])
    if control == NEG_IMAGE:
        orders = as_labels(orders, [item.negative_prompt for item in pairs])
    place = workspace.root / "controls" / control.name
    return stages.synthesize(place, orders, lambda: synthesizer().painter(control), workspace)


def control_synthesizer(inputs: FitInputs) -> ControlSynthesizer:
    """Return where controls are painted as the run's own images were."""
    recipe, models = inputs.recipe, inputs.models
    guide = guide_of(recipe, models, inputs.store, inputs.class_names, inputs.classifier)
    return ControlSynthesizer(models, guide, recipe.guidance, pipeline.BATCH_SIZE)


def guide_of(
    recipe: Recipe,
    models: Models,
    store: FeatureStore,
    class_names: tuple[str, ...],
    classifier: Classifier,
) -> Guide:
    """Return what judges images under a recipe: the classifier, or the encoder's margin."""
    if recipe.guidance.objective != "margin":
        return classifier
    mining = recipe.mining
    negatives = stages.mine(store, models.bundle.words(), class_names, mining, no_progress)
    classes = class_features(class_names, store, mining.prompt_set)
    temperature = recipe.score.temperature
    return work.guide_of(models, work.Labels(classes, unit(negatives.features), temperature))


class Retuner:
    """Tunes detectors on a run's own features; each image and text is encoded once.

    `class_images` are the images that the projection learns the classes from; None: those redrawn.
    """

    def __init__(
        self,
        pairs: Sequence[ImagePair],
        class_names: tuple[str, ...],
        models: Models,
        store: FeatureStore,
        recipe: Recipe,
        workspace: Workspace,
        class_images: Sequence[Picture] | None = None,
    ) -> None:
        self._painted = pairs
        self._learnt = [item.source for item in pairs] if class_images is None else class_images
        self._class_names = class_names
        self._models = models
        self._store = store
        self._recipe = recipe
        self._workspace = Workspace(workspace.root)  # without the progress of each tuning
        self._negatives = stages.mine(
            store, models.bundle.words(), class_names, recipe.mining, no_progress
        )

    def negative_features(self) -> NDArray[np.float32]:
        """Return the mined negatives' features (M, D) of unit length, before any tuning."""
        return unit(self._negatives.features)

    def detector(self, stand_ins: Sequence[Synthetic], seed: int, tune: Tune = tune) -> OODDetector:
        """Tune on `stand_ins`, one per image of the run and in its order, under `seed`.

        The run's own synthetic images under its own seed give the run's own detector; `tune` is
        another way of tuning.
        """
        data = self._data(stand_ins)
        return assemble(
            data, self._recipe, seed, self._models, self._class_names, self._workspace, tune
        )

    def _data(self, stand_ins: Sequence[Synthetic]) -> TuningData:
        features = self.features(stand_ins)
        nearest = nearest_negative(features, self._negatives.features)
        mining = self._recipe.mining.prompt_set
        views = range(self._recipe.projection.views + 1)
        return TuningData(
            id_features=np.concatenate([self.features(self._learnt, view) for view in views]),
            id_targets=np.array(
                [self._class_names.index(image.label) for _ in views for image in self._learnt],
                np.int64,
            ),
            synthetic_features=features,
            class_features=class_features(self._class_names, self._store, mining),
            projection_classes=class_features(
                self._class_names,
                self._store,
                self._recipe.projection.class_prompt_set or mining,
            ),
            negatives=self._negatives,
            assignment=stages.Assignment(*compact(nearest)),
        )

    def features(
        self, images: Sequence[Picture] | Sequence[Synthetic], view: int = 0
    ) -> NDArray[np.float32]:
        """Return the encoder's features (N, D) of images, not normalised, each encoded once."""
        return self._store.images([ImageFile(p.path, p.sha256, view) for p in images])


def _selected(run: Path, index: ImageIndex) -> list[Picture]:
    """Read the images that a run selected."""
    paths = {record.id: record.path for record in index.records}
    return [
        Picture(
            id=row["id"],
            path=paths[row["id"]],
            label=row["label"],
            sha256=row["sha256"],
            bytes_per_pixel=row["bytes_per_pixel"],
            uses=tuple(row["uses"]),
        )
        for row in read_jsonl(run / "select.jsonl")
    ]
