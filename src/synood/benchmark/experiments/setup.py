"""The setup that experiments share: an encoded suite, a finished run, choices made once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from synood.benchmark.protocol import scoring
from synood.benchmark.protocol.repaint import repaint
from synood.benchmark.protocol.retune import (
    Retuner,
    paint_control,
    read_class_images,
    read_pairs,
    synthesizer_of,
)
from synood.benchmark.results.comparisons import compare
from synood.benchmark.results.tables import columns
from synood.features.store import FeatureStore
from synood.models.device import pick_device
from synood.models.loaded import Models
from synood.pipeline import run as pipeline
from synood.pipeline.overwrite import check_same_classes
from synood.pipeline.recipe import with_changes
from synood.pipeline.rundir.workspace import Workspace, open_run
from synood.pipeline.stages.released import named_as

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from synood.benchmark.experiments.interface import Outcome
    from synood.benchmark.protocol.encoding import EncodedSet
    from synood.benchmark.protocol.fit_inputs import FitInputs
    from synood.benchmark.protocol.methods import Method
    from synood.benchmark.protocol.retune import ImagePair
    from synood.benchmark.results.comparisons import Comparison, SeedScores
    from synood.benchmark.results.results import Row
    from synood.benchmark.suites.suite import Suite
    from synood.detector.ood_detector import OODDetector
    from synood.models.bundles import Bundle
    from synood.pipeline.rundir.selection import SelectedImage
    from synood.pipeline.rundir.shards import SyntheticImage
    from synood.progress import Progress
    from synood.settings import GuidanceSettings, Recipe

TRAIN_PER_CLASS = 50  # training images that a system may look at, of each class


@dataclass(frozen=True, eq=False)
class Setup:
    """A finished run on a suite's training images, and the encoded suite.

    `choices` were made on validation images, if the suite has any. `systems` are the only ones
    that a table of systems has; without any it has them all.
    """

    workspace: Workspace
    detector: OODDetector
    suite: Suite
    inputs: FitInputs
    encoded: scoring.EncodedSuite
    choices: Mapping[str, Any]
    seeds: tuple[int, ...]
    resamples: int
    systems: tuple[str, ...] = ()

    @property
    def recipe(self) -> Recipe:
        """The recipe of the run, with the choices made on validation images."""
        return self.inputs.recipe

    @cached_property
    def pairs(self) -> list[ImagePair]:
        """The run's pairs, in the order in which images were selected."""
        return read_pairs(self.inputs.finished_run(), self.suite.one("train").index())

    @cached_property
    def retuner(self) -> Retuner:
        """Tunes detectors from the run's features, under other seeds or on other images."""
        return self.retuner_for(self.pairs)

    def retuner_for(
        self,
        pairs: Sequence[ImagePair],
        recipe: Recipe | None = None,
        class_images: Sequence[SelectedImage] | None = None,
    ) -> Retuner:
        """The same as `retuner`, for some of the pairs or another recipe.

        `class_images` are the images that the projection learns the classes from: by default those
        that the run chose for it, if its recipe chooses any, else those that were redrawn.
        """
        found = self.inputs
        if class_images is None and found.recipe.projection.images_per_class is not None:
            class_images = read_class_images(found.finished_run(), self.suite.one("train").index())
        return Retuner(
            pairs,
            found.class_names,
            found.models,
            found.store,
            recipe or found.recipe,
            self.workspace,
            class_images,
            found.train,
        )

    def synthetic(self) -> list[SyntheticImage]:
        """Return the run's own synthetic images."""
        return [item.synthetic for item in self.pairs]

    def paint(self, control: Method, seed: int | None = None) -> list[SyntheticImage]:
        """Make a control's images, one for each of the run's, or find them made.

        `seed` draws them as a run under that seed would; None: as the run did.
        """
        report = self.workspace.stage(f"control: {control.title}")

        def progress(stage: str, done: int, total: int, message: str) -> None:
            report(done, total, message)

        synthesizer = partial(synthesizer_of, self.inputs)
        own = Workspace(self.workspace.root, progress)
        return paint_control(control, self.pairs, synthesizer, own, seed)

    def repaint(
        self, name: str, guidance: GuidanceSettings, seed: int | None = None
    ) -> list[SyntheticImage]:
        """Synthesize the run's images under another guidance or seed, or find them made.

        The run's own are returned if both are the same; whether images stop at the target changes
        none that are guided in rounds.
        """
        own = self.recipe.guidance
        if own.method == "rounds":
            own = replace(own, stop_at_target=guidance.stop_at_target)
        same_noise = all(item.request(seed) == item.request() for item in self.pairs)
        if same_noise and guidance == own:
            return self.synthetic()
        return repaint(name, guidance, self.pairs, self.inputs, self.workspace, seed)

    def scored(
        self, title: str, make: Callable[[int], OODDetector], seeds: Sequence[int] | None = None
    ) -> list[SeedScores]:
        """Score every test set with the detectors that `make` tunes, one per seed."""
        seeds = self.seeds if seeds is None else seeds
        advance = self.workspace.stage("experiment")
        scores = []
        for done, seed in enumerate(seeds, start=1):
            scores.append(scoring.seed_scores(scorer_of(make(seed)), seed, self.encoded))
            advance(done, len(seeds), f"{title}, seed {seed}")
        return scores

    def system(
        self, name: str, seeds: Sequence[int] | None = None
    ) -> tuple[list[SeedScores], dict[str, object]]:
        """Score a system of the registry under each seed; also return what it chose."""
        from synood.benchmark.systems import find_system

        seeds = self.seeds if seeds is None else seeds
        return scoring.score_system(find_system(name), self.inputs, self.encoded, seeds)

    def measured(
        self, methods: Sequence[Method], scores: Mapping[str, Sequence[SeedScores]]
    ) -> tuple[Row, ...]:
        """One row per method, seed and OOD set."""
        return scoring.measure(methods, scores, self.encoded, self.resamples)

    def compared(
        self,
        method: str,
        others: Sequence[str],
        scores: Mapping[str, Sequence[SeedScores]],
        rows: Sequence[Row],
    ) -> tuple[Comparison, ...]:
        """Compare a method with others on the same images, in every column of the table."""
        return tuple(compare(method, others, scores, columns(rows), self.resamples))


def scorer_of(detector: OODDetector) -> Callable[[EncodedSet], Any]:
    """Return a detector as a scorer of encoded sets."""
    return lambda encoded: detector.score_features(encoded.features)


def prepare(
    out: Path,
    suite: Suite,
    bundle: Bundle,
    recipe: Recipe,
    seeds: Sequence[int],
    *,
    device: str = "auto",
    resamples: int = 200,
    images_factor: int = 1,
    progress: Progress | None = None,
    overwrite: bool = False,
    systems: Sequence[str] = (),
) -> Setup:
    """Finish the run in `out`, or find it finished, and encode the suite.

    `out` may be the directory of an earlier run or demo on the same suite, which is used.
    `images_factor` multiplies the recipe's images of each class.
    """
    if not overwrite:
        check_same_classes(out, named_as(recipe, suite.one("train").index()).class_names)
    models = Models(bundle, pick_device(device))
    models.check_texts()  # which nearly every system compares images with
    with open_run(out, progress) as workspace:
        store = FeatureStore(
            out / "features",
            models.part_fingerprint("encoder"),
            lambda: models.encoder,
            device=models.device,
        )
        inputs, encoded = scoring.gather(
            suite, models, store, recipe, workspace.stage("view"), None, TRAIN_PER_CLASS
        )
        choices = _choices(suite, inputs, encoded)
    changes = choices.recipe_changes() if choices else {}
    chosen = with_changes(recipe, changes, "the choice on validation images")
    chosen = replace(
        chosen, select=replace(chosen.select, per_class=images_factor * chosen.select.per_class)
    )
    index = suite.one("train").index()
    detector = pipeline.fit(
        index, bundle, chosen, out, progress=progress, device=device, overwrite=overwrite
    )
    return Setup(
        Workspace(out, progress),
        detector,
        suite,
        replace(inputs, recipe=chosen, run=out),
        encoded,
        choices.to_json() if choices else {},
        tuple(seeds),
        resamples,
        tuple(systems),
    )


def _choices(
    suite: Suite, inputs: FitInputs, encoded: scoring.EncodedSuite
) -> scoring.Choices | None:
    """Choose NegLabel's and MCM's settings on validation images, if there are any."""
    if not suite.validated:
        return None
    words = inputs.words
    return scoring.choose(words, inputs.class_names, inputs.class_features, encoded, inputs.recipe)


def measured_outcome(
    setup: Setup,
    methods: Sequence[Method],
    scores: Mapping[str, Sequence[SeedScores]],
    against: str | None = None,
    **more: Any,  # noqa: ANN401 - further fields of an Outcome
) -> Outcome:
    """Measure the methods; with `against`, compare each other method of its kind with that one."""
    from synood.benchmark.experiments.interface import Outcome

    rows = setup.measured(methods, scores)
    comparisons: tuple[Comparison, ...] = ()
    if against is not None:
        kind = next(method.kind for method in methods if method.name == against)
        comparisons = tuple(
            comparison
            for method in methods
            if method.name != against and method.kind == kind
            for comparison in setup.compared(method.name, [against], scores, rows)
        )
    return Outcome(tuple(methods), rows, comparisons, **more)
