"""How near the boundary synthetic images are, and whether it matters: guides, strengths, controls.

Every kind of image is made from the run's own images, prompts and seeds. One table shows how near
the boundary they are for the encoder, one the same for the image sets of the suite, and the usual
table the results of the detectors tuned on them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from synood import scores
from synood.benchmark.experiments._album import album
from synood.benchmark.experiments.interface import Experiment, Outcome, variant
from synood.benchmark.protocol.controls import JIGSAW, NEG_IMAGE, UNGUIDED, VAE
from synood.benchmark.protocol.methods import NEGLABEL, SYNOOD
from synood.benchmark.report.extra_tables import ExtraTable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from synood.benchmark.experiments.setup import Setup
    from synood.benchmark.protocol.encoding import EncodedSet
    from synood.benchmark.protocol.methods import Method
    from synood.benchmark.results.comparisons import Comparison, SeedScores
    from synood.pipeline.rundir.shards import SyntheticImage
    from synood.settings import GuidanceSettings

    Floats = NDArray[np.float32]

STRENGTHS = (0.2, 0.3, 0.4, 0.6, 0.8)  # of images guided by energy, and of unguided ones
MARGIN_STRENGTHS = (0.4, 0.6)
SMALL_STRENGTHS = (0.2, 0.3, 0.6)
SMALL_STEP, MORE_ROUNDS = 0.3, 6  # a step of 10 destroys the noise of the mini in-painter
SOURCES = "the images redrawn"
LOW = 0.1  # quantile of NegLabel's score: the worst in-distribution images


@dataclass(frozen=True, eq=False)
class ImageKind:
    """Images of one kind, and the guidance that their recorded energies refer to."""

    method: Method
    images: Sequence[SyntheticImage]
    guidance: GuidanceSettings


@dataclass(frozen=True, eq=False)
class Texts:
    """Unit features of C class names and M negative labels, and NegLabel's score on them."""

    classes: Floats  # (C, D)
    negatives: Floats  # (M, D)
    scorer: scores.NegLabelScorer

    @classmethod
    def of(cls, setup: Setup) -> Texts:
        """Return those of the recipe, before any tuning."""
        rows = setup.inputs.class_features, setup.retuner.negative_features()
        by = setup.recipe.score
        scorer = scores.NegLabelScorer.from_features(*rows, by.temperature, by.groups, by.seed)
        return cls(*rows, scorer)

    def nearest(self, features: Floats) -> NDArray[np.int64]:
        """Return the nearest text of each image (N,); numbers below C are class names."""
        cosines = [scores.cosine_similarity(features, side) for side in self.sides]
        rows: NDArray[np.int64] = np.hstack(cosines).argmax(axis=1)
        return rows

    def margin_energies(self, features: Floats) -> NDArray[np.float64]:
        """Log mass on negatives minus that on class names, the objective "margin": (N,)."""
        logits = (
            scores.cosine_similarity(features, side).astype(np.float64) / self.scorer.temperature
            for side in self.sides
        )
        classes, negatives = (np.logaddexp.reduce(side, axis=1) for side in logits)
        return np.asarray(negatives - classes)

    @property
    def sides(self) -> tuple[Floats, Floats]:
        """Class names and negative labels."""
        return self.classes, self.negatives


def run(setup: Setup) -> Outcome:
    """Make every kind of image, measure how near the boundary it is, tune on it."""
    kinds = list(_kinds(setup))
    found: dict[str, list[SeedScores]] = {NEGLABEL.name: setup.system(NEGLABEL.name)[0]}
    for kind in kinds:
        tuned = partial(setup.retuner.detector, kind.images)
        found[kind.method.name] = setup.scored(kind.method.title, tuned)
    methods = (NEGLABEL, *(kind.method for kind in kinds))
    rows = setup.measured(methods, found)
    own = (kind.method for kind in kinds if kind.images == setup.synthetic())
    others = (NEGLABEL, *own)
    compared = {
        other.name: {
            kind.method.name: setup.compared(kind.method.name, [other.name], found, rows)
            for kind in kinds
            if kind.method != other
        }
        for other in others
    }
    texts = Texts.of(setup)
    extra_tables = (
        _images_table(setup, kinds, texts),
        _sets_table(setup, texts),
        _gains_table(kinds, others, compared),
    )
    shown = {kind.method.title: [one.path for one in kind.images] for kind in kinds}
    images = {"kinds.webp": album({SOURCES: [p.source.path for p in setup.pairs], **shown})}
    flat = (one for pairs in compared.values() for some in pairs.values() for one in some)
    return Outcome(methods, rows, tuple(flat), extra_tables=extra_tables, images=images)


def _kinds(setup: Setup) -> Iterator[ImageKind]:
    guidance = setup.recipe.guidance
    by_energy = replace(guidance, objective="energy", stop_at_target=True)
    by_margin = replace(guidance, objective="margin", temperature=1.0, stop_at_target=True)
    strengths = sorted({*STRENGTHS, guidance.strength})
    for strength in strengths:
        yield _guided(setup, "energy", replace(by_energy, strength=strength))
    for strength in sorted({*MARGIN_STRENGTHS, guidance.strength}):
        yield _guided(setup, "margin", replace(by_margin, strength=strength))
    for guide, settings in (("energy", by_energy), ("margin", by_margin)):
        small = replace(settings, step_size=SMALL_STEP, rounds=MORE_ROUNDS)
        for strength in SMALL_STRENGTHS:
            yield _guided(setup, f"{guide} in small steps", replace(small, strength=strength))
    for strength in strengths:
        unguided = replace(by_energy, strength=strength).unguided()
        yield _guided(setup, UNGUIDED.name, unguided)
    for control in (VAE, JIGSAW, NEG_IMAGE):
        yield ImageKind(control, setup.paint(control), guidance)


def _guided(setup: Setup, guide: str, guidance: GuidanceSettings) -> ImageKind:
    name = f"{guide.replace(' ', '-')}-{guidance.strength:g}"
    method = variant(name, f"{guide}, strength {guidance.strength:g}", SYNOOD.paper, SYNOOD.needs)
    return ImageKind(method, setup.repaint(name, guidance), guidance)


def _images_table(setup: Setup, kinds: Sequence[ImageKind], texts: Texts) -> ExtraTable:
    """Return how near the boundary each kind is; the first line is the source images."""
    near = [item.features for item in setup.encoded.validation_ood if item.group == "near"]
    labels = [setup.inputs.class_names.index(item.source.label) for item in setup.pairs]
    sources = setup.retuner.features([item.source for item in setup.pairs])
    quantile = setup.recipe.guidance.target_quantile
    target = setup.recipe.guidance.target
    if quantile is not None:
        target = float(np.quantile(texts.margin_energies(sources), quantile))

    def line(title: str, beyond: Sequence[str], features: Floats) -> tuple[str, ...]:
        return (title, *beyond, *_places(features, labels, texts, target, near))

    lines = [line(SOURCES, ("", ""), sources)]
    for kind in kinds:
        features = setup.retuner.features(kind.images)
        lines.append(line(kind.method.title, _beyond(kind), features))
    head = (
        "", "beyond, first round", "at the end", "beyond by the margin", "own class nearest",
        "a class nearest", "NegLabel, median", "near OOD to its nearest image",
    )  # fmt: skip
    title = (
        "Where the images lie: share beyond the target of what guided them (the classifier's "
        "energy, or the encoder's margin) and of the encoder's margin, %; share with their own or "
        "any class name nearest among class names and negative labels, %; NegLabel's log odds; "
        "mean cosine of validation's near OOD with the nearest image"
    )
    return ExtraTable(title, head, tuple(lines))


def _beyond(kind: ImageKind) -> tuple[str, str]:
    """Return the fractions of images that reached the target, in the first and the last round."""
    quantile, target = kind.guidance.target_quantile, kind.guidance.target
    if quantile is not None:
        target = float(np.quantile([item.source_energy for item in kind.images], quantile))
    first, last = (
        np.mean([item.energies[place] >= target for item in kind.images]) for place in (0, -1)
    )
    return _percent(first), _percent(last)


def _places(
    features: Floats,
    labels: Sequence[int],
    texts: Texts,
    target: float,
    near: Sequence[Floats],
) -> tuple[str, ...]:
    nearest = texts.nearest(features)
    return (
        _percent(np.mean(texts.margin_energies(features) >= target)),
        _percent(np.mean(nearest == labels)),
        _percent(np.mean(nearest < len(texts.classes))),
        f"{np.median(texts.scorer.log_odds(features)):.2f}",
        f"{_to_nearest(np.concatenate(near), features):.3f}" if near else "",
    )


def _sets_table(setup: Setup, texts: Texts) -> ExtraTable:
    """Return the same for each image set."""
    encoded = setup.encoded
    sets = [setup.inputs.train]
    if len(encoded.validation):
        sets += [encoded.validation, *encoded.validation_ood]
    sets += [encoded.test, *encoded.test_ood]
    head = (
        "", "images", "cosine with nearest class", f"NegLabel, {LOW:.0%} quantile", "median",
        "feature length", "rightly named, %",
    )  # fmt: skip
    title = "The image sets: means over images, and quantiles of NegLabel's log odds"
    return ExtraTable(title, head, tuple(_set_line(item, texts) for item in sets))


def _set_line(item: EncodedSet, texts: Texts) -> tuple[str, ...]:
    named, found = "", texts.scorer.log_odds(item.features)
    cosines = scores.cosine_similarity(item.features, texts.classes)
    if item.labels is not None:
        named = _percent(np.mean(cosines.argmax(axis=1) == item.labels))
    return (
        item.name,
        str(len(item)),
        f"{cosines.max(axis=1).mean():.3f}",
        f"{np.quantile(found, LOW):.2f}",
        f"{np.median(found):.2f}",
        f"{np.linalg.norm(item.features, axis=1).mean():.1f}",
        named,
    )


def _gains_table(
    kinds: Sequence[ImageKind],
    others: Sequence[Method],
    compared: Mapping[str, Mapping[str, Sequence[Comparison]]],
) -> ExtraTable:
    """Return the gain in FPR95 of each kind over NegLabel and over the run's own images."""
    groups = ("all", "near", "far")
    head = ("", *(f"over {other.title}, {group}" for other in others for group in groups))
    lines = []
    for kind in kinds:
        cells = []
        for other in others:
            items = compared[other.name].get(kind.method.name, ())
            gains = {one.column: _points(one) for one in items if one.metric == "fpr95"}
            cells += [gains.get(f"average:{group}", "") for group in groups]
        lines.append((kind.method.title, *cells))
    title = "Gain in FPR95, in points, with 95 % intervals over test images and seeds"
    return ExtraTable(title, head, tuple(lines))


def _points(item: Comparison) -> str:
    return f"{100 * item.gain:+.1f} ({100 * item.low:+.1f} to {100 * item.high:+.1f})"


def _to_nearest(images: Floats, synthetic: Floats) -> float:
    """Return the mean over `images` (N, D) of the cosine with the nearest of `synthetic` (M, D)."""
    return float(scores.cosine_similarity(images, synthetic).max(axis=1).mean())


def _percent(share: np.floating) -> str:
    return f"{100 * share:.1f}"


BOUNDARY = Experiment(
    "boundary",
    "Where the images lie",
    "Where do the images lie, and are those nearer the boundary better to learn from?",
    run,
    benchmark="openood",
)
