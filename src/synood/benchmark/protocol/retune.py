"""Tunes detectors on a finished run, under other seeds or on other images.

Everything except the images and the seed is the run's own: selection, prompts, mined negatives,
recipe. So two detectors made here differ only in what is to be compared.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from synood.benchmark.protocol.controls import (
    NEG_IMAGE,
    as_labels,
    control_requests,
    control_synthesizer,
)
from synood.detector.fused import EvidenceImages
from synood.features.extractor import ImageFile
from synood.features.texts import class_features, unit
from synood.files import fingerprint, read_jsonl
from synood.models.guide import MarginTexts, load_guide, preprocessed
from synood.pipeline.rundir.selection import SelectedImage, read_selection
from synood.pipeline.rundir.shards import SynthesisRequest, SyntheticImage, read_synthetic
from synood.pipeline.rundir.workspace import Workspace
from synood.pipeline.stages.label_images import label_files, read_label_images, with_targets
from synood.pipeline.stages.mine import mine_words
from synood.pipeline.stages.synthesize import BATCH_SIZE, image_seed, synthesize_here
from synood.pipeline.stages.tune import (
    TuningData,
    detector_and_scores,
    tune_weights,
    tuning_data,
)
from synood.tuning.assignment import Assignment, compact, nearest_negative

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from synood.benchmark.protocol.encoding import EncodedSet
    from synood.benchmark.protocol.fit_inputs import FitInputs
    from synood.benchmark.protocol.methods import Method
    from synood.detector.ood_detector import OODDetector
    from synood.features.store import FeatureStore
    from synood.images.sources import ImageIndex
    from synood.models.classifier import Classifier
    from synood.models.guide import Guide
    from synood.models.loaded import Models
    from synood.pipeline.executors.synthesizer import BatchSynthesizer
    from synood.pipeline.stages.label_images import LabelImages
    from synood.pipeline.stages.tune import TuneWeights
    from synood.settings import Recipe


@dataclass(frozen=True)
class ImagePair:
    """One image of the run: the in-distribution image and the synthetic one made of it."""

    source: SelectedImage
    synthetic: SyntheticImage
    negative_prompt: str

    def request(self, seed: int | None = None) -> SynthesisRequest:
        """Return the request that the synthetic image was made for.

        With a `seed`, return that of a run under this seed: the same one if it is the run's own.
        """
        made, source = self.synthetic, self.source
        own = SynthesisRequest(
            made.id, source.path, source.sha256, made.prompt, made.seed, made.inputs
        )
        noise = own.seed if seed is None else image_seed(seed, source.sha256)
        if noise == own.seed:
            return own
        return replace(own, seed=noise, inputs=fingerprint("seed", noise, own.inputs))


def read_pairs(run: Path, index: ImageIndex) -> list[ImagePair]:
    """Read a run's synthetic images with their sources, in the order of its selection."""
    made = {item.id: item for item in read_synthetic(run / "synthesize").values()}
    prompts = {row["id"]: row["prompt"] for row in read_jsonl(run / "assign.jsonl")}
    return [
        ImagePair(image, made[image.id], prompts[image.id])
        for image in read_selection(run / "select.jsonl", index) or ()
        if "tune" in image.uses and image.id in made  # others were quarantined
    ]


def read_class_images(run: Path, index: ImageIndex) -> list[SelectedImage]:
    """Read which images a run's projection learned the classes from."""
    images = read_selection(run / "select.jsonl", index) or ()
    return [image for image in images if image.teaches_its_class]


def paint_control(
    control: Method,
    pairs: Sequence[ImagePair],
    make_synthesizer: Callable[[Method], BatchSynthesizer],
    workspace: Workspace,
    seed: int | None = None,
) -> list[SyntheticImage]:
    """Return a control's images, one for each of the run's; make those that are missing.

    `make_synthesizer` is called only when an image is missing. `seed` is that of another run.
    """
    requests = control_requests(control, [item.request(seed) for item in pairs])
    if control == NEG_IMAGE:
        requests = as_labels(requests, [item.negative_prompt for item in pairs])
    directory = workspace.root / "controls" / seeded_name(control.name, seed)
    return synthesize_here(directory, requests, partial(make_synthesizer, control), workspace)


def seeded_name(name: str, seed: int | None) -> str:
    """Return the folder name of images under another seed, or `name` under the run's own."""
    return name if seed is None else f"{name}-seed-{seed}"


def synthesizer_of(inputs: FitInputs, control: Method) -> BatchSynthesizer:
    """Return the synthesizer of a control, with the models and settings of the run."""
    recipe, models = inputs.recipe, inputs.models
    guide = recipe_guide(recipe, models, inputs.store, inputs.class_names, inputs.classifier)
    return control_synthesizer(control, models, guide, recipe.guidance, BATCH_SIZE)


def recipe_guide(
    recipe: Recipe,
    models: Models,
    store: FeatureStore,
    class_names: tuple[str, ...],
    classifier: Classifier,
) -> Guide:
    """Return the guide of a recipe: the classifier, or the encoder's margin."""
    if recipe.guidance.objective != "margin":
        return preprocessed(classifier, recipe.guidance.preprocess)
    negatives = mine_words(store, models.bundle.words(), class_names, recipe.mining)
    classes = class_features(store.texts, class_names, recipe.mining.prompt_set)
    texts = MarginTexts(classes, unit(negatives.features), recipe.score.temperature)
    return load_guide(models, texts)


class Retuner:
    """Tunes detectors on a run's own features; each image and text is encoded once.

    `class_images` are the images that the projection learns the classes from; None: those redrawn.
    For a recipe with image evidence, that learns from all of `train`.
    """

    def __init__(
        self,
        pairs: Sequence[ImagePair],
        class_names: tuple[str, ...],
        models: Models,
        store: FeatureStore,
        recipe: Recipe,
        workspace: Workspace,
        class_images: Sequence[SelectedImage] | None = None,
        train: EncodedSet | None = None,
    ) -> None:
        self._pairs = pairs
        self._class_images = (
            [item.source for item in pairs] if class_images is None else class_images
        )
        self._train = train
        self._class_names = class_names
        self._models = models
        self._store = store
        self._recipe = recipe
        self._workspace = Workspace(workspace.root)  # without the progress of each tuning
        self._negatives = mine_words(store, models.bundle.words(), class_names, recipe.mining)

    def negative_features(self) -> NDArray[np.float32]:
        """Return the mined negatives' features (M, D) of unit length, before any tuning."""
        return unit(self._negatives.features)

    def detector(
        self, synthetic: Sequence[SyntheticImage], seed: int, tune: TuneWeights = tune_weights
    ) -> OODDetector:
        """Tune on `synthetic`, one image per selected image and in its order, under `seed`.

        The run's own synthetic images under its own seed give the run's own detector; `tune` is
        another way of tuning.
        """
        data = self._data(synthetic)
        own = (self._models, self._class_names, self._workspace)
        return detector_and_scores(data, self._recipe, seed, *own, tune)[0]

    def _data(self, synthetic: Sequence[SyntheticImage]) -> TuningData:
        features = self.features(synthetic)
        nearest = nearest_negative(features, self._negatives.features)
        assignment = Assignment(*compact(nearest))
        views = range(self._recipe.projection.views + 1)
        return tuning_data(
            self._recipe,
            self._class_names,
            self._store.texts,
            [self.features(self._class_images, view) for view in views],
            [image.label for image in self._class_images],
            features,
            self._negatives,
            assignment,
            self._evidence_images(),
            self._label_images(synthetic, assignment),
        )

    def _label_images(
        self, synthetic: Sequence[SyntheticImage], assignment: Assignment
    ) -> LabelImages | None:
        """Return the run's further kinds of images; one painted from another label is left out."""
        if self._recipe.negatives.images != "four-kinds":
            return None
        rows = assignment.used[assignment.targets].tolist()
        labels = {
            image.id: self._negatives.prompts[row]
            for image, row in zip(synthetic, rows, strict=True)
        }
        made = read_label_images(self._workspace.root)
        made["text"] = [
            image
            for image in made.get("text", [])
            if labels.get(image.id, "").startswith(image.prompt)
        ]
        files = label_files(made)
        if not files:
            return None
        return with_targets(made, self._store.images(files), synthetic, assignment)

    def _evidence_images(self) -> EvidenceImages | None:
        """Return the class images, then the other training images, if the recipe looks at them."""
        if not self._recipe.evidence.from_images:
            return None
        rows = {name: row for row, name in enumerate(self._class_names)}
        features = [self.features(self._class_images)]
        targets = [np.array([rows[image.label] for image in self._class_images], np.int64)]
        if self._train is not None and self._train.labels is not None:
            known = {image.id for image in self._class_images}
            records = self._train.require_images().records
            others = np.array([record.id not in known for record in records], bool)
            others &= self._train.labels >= 0
            features.append(self._train.features[others])
            targets.append(self._train.labels[others].astype(np.int64))
        return EvidenceImages(np.concatenate(features), np.concatenate(targets), len(targets[0]))

    def features(
        self, images: Sequence[SelectedImage] | Sequence[SyntheticImage], view: int = 0
    ) -> NDArray[np.float32]:
        """Return the encoder's features (N, D) of images, not normalised, each encoded once."""
        return self._store.images([ImageFile(p.path, p.sha256, view) for p in images])
