"""The page of a finished demo: the images shown, and the text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from synood.benchmark.protocol.controls import CONTROLS
from synood.benchmark.protocol.methods import SYNOOD
from synood.benchmark.protocol.predictions import (
    LOG_ODDS,
    SCORES,
    from_shares,
    read_predictions,
    scores_by_set,
)
from synood.benchmark.protocol.retune import read_pairs
from synood.benchmark.report.records import comparisons_of, methods_of
from synood.benchmark.report.report import Distribution, Mistake, Mistakes, Report, ShownPair, Strip
from synood.benchmark.report.summary import summarise_run
from synood.benchmark.report.thumbnails import evenly, thumbnail
from synood.benchmark.results.tables import title_of
from synood.benchmark.suites.suite import read_suite
from synood.benchmark.systems.encoder_features import NEAREST_IMAGE
from synood.errors import InputError
from synood.pipeline.rundir.shards import read_synthetic

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from synood.benchmark.protocol.predictions import ScoredImage
    from synood.benchmark.protocol.retune import ImagePair
    from synood.benchmark.results.results import Results
    from synood.benchmark.suites.suite import ImageSet, Suite

PAIRS = 16  # shown of all
STRIPS = 4
WORST = 6  # mistakes shown of each set


def run_report(run: Path, results: Results) -> Report:
    """Return the page of a run; the pairs shown are evenly spaced, not picked.

    The mistakes are the most confident ones of the saved detector in each set.
    """
    suite = read_suite(run / "suite")
    scored, threshold = read_predictions(run / SCORES), float(results.run["threshold"])
    if results.run.get("score") != LOG_ODDS:
        scored, threshold = from_shares(scored, threshold)
    scores = scores_by_set(scored)
    own = suite.one("test")
    methods, comparisons = methods_of(results), comparisons_of(results)
    pairs = read_pairs(run, suite.one("train").index())
    return Report(
        results=results,
        methods=methods,
        comparisons=comparisons,
        summary=summarise_run(results.rows, comparisons, methods),
        distributions=tuple(
            Distribution(title_of(item.name), item.group, scores[own.name], scores[item.name])
            for item in suite.ood("test")
        ),
        threshold=threshold,
        pairs=tuple(_pair(item) for item in evenly(pairs, PAIRS)),
        strips=_strips(run, pairs),
        facts=_facts(results.run, suite, pairs),
        notes=_notes(results.run),
        mistakes=tuple(
            worst_mistakes(item, scored, threshold)
            for item in (*suite.ood("test"), suite.one("test"))
        ),
    )


def worst_mistakes(item: ImageSet, scored: Sequence[ScoredImage], threshold: float) -> Mistakes:
    """Return a set's most confident mistakes: the highest OOD or the lowest in-distribution scores.

    Equal scores are in the order of the listing.
    """
    inside = item.group == "id"
    own = [one for one in scored if one.set == item.name]
    own.sort(key=lambda one: one.score if inside else -one.score)
    wrong = [(one.score < threshold) == inside for one in own]
    paths = {record.id: record.path for record in item.index().records}
    lacking = next((one.image for one in own[:WORST] if one.image not in paths), None)
    if lacking is not None:
        raise InputError(f"{SCORES}: the set {item.name!r} has no image {lacking!r}")
    shown = tuple(
        Mistake(
            thumbnail(paths[one.image]),
            one.image,
            one.score,
            one.nearest_class,
            one.nearest_negative,
            is_wrong,
            one.label,
        )
        for one, is_wrong in zip(own[:WORST], wrong, strict=False)
    )
    return Mistakes(title_of(item.name), item.group, sum(wrong), len(own), shown)


def _pair(item: ImagePair) -> ShownPair:
    made = item.synthetic
    return ShownPair(
        source=thumbnail(item.source.path),
        synthetic=thumbnail(made.path),
        label=item.source.label,
        prompt=made.prompt,
        negative_label=item.negative_prompt,
        source_energy=made.source_energy,
        energies=made.energies,
        stop=made.stop,
    )


def _strips(run: Path, pairs: Sequence[ImagePair]) -> tuple[Strip, ...]:
    """Show some sources with their synthetic image and those of each control."""
    made = {SYNOOD.title: {item.source.id: item.synthetic for item in pairs}}
    for control in CONTROLS:
        found = read_synthetic(run / "controls" / control.name).values()
        made[control.title] = {item.id: item for item in found}
    strips = []
    for item in evenly(pairs, STRIPS):
        name = item.source.id
        images = [("source", thumbnail(item.source.path))]
        images += [(title, thumbnail(own[name].path)) for title, own in made.items() if name in own]
        strips.append(Strip(item.source.label, tuple(images)))
    return tuple(strips)


def _facts(run: Mapping[str, Any], suite: Suite, pairs: Sequence[ImagePair]) -> dict[str, str]:
    ood = suite.ood("test")
    near = sum(item.group == "near" for item in ood)
    shown = min(PAIRS, len(pairs))
    return {
        "eyebrow": f"{suite.name} world, {suite.split} split · bundle {run['models']['bundle']} · "
        f"recipe {run['recipe']['name']}",
        "lede": f"{len(suite.one('train').index().class_names)} known classes with "
        f"{suite.one('test').n:,} test images, against {sum(item.n for item in ood):,} images "
        f"of other things in {near} near and {len(ood) - near} far sets. SynOOD was tuned on "
        f"{len(pairs):,} in-distribution images and as many synthetic ones.",
        "intervals": f"± is the 95 % interval of the mean over {len(run['seeds'])} tuning seeds "
        "(Student’s t); a method without randomness has none.",
        "pairs": f"{shown} of {len(pairs):,} pairs, evenly spaced through the list, not picked "
        "by hand.",
    }


def _notes(run: Mapping[str, Any]) -> tuple[str, ...]:
    neglabel, mcm = run["choices"]["neglabel"], run["choices"]["mcm"]
    seen = run.get("chosen", {}).get(NEAREST_IMAGE.name, {}).get("training_images")
    plain = (
        "1-NN, class mean, both forms of Mahalanobis++ and the linear head read the encoder’s "
        f"features and no text. They learn from all {seen:,} training images; none of their "
        "settings is chosen on validation images.",
    )
    return (
        f"Chosen on validation images only: NegLabel keeps {100 * neglabel['share']:.0f} % of "
        f"the candidate words at temperature {neglabel['temperature']:g}, MCM scores at "
        f"temperature {mcm['temperature']:g}. SynOOD and the controls use NegLabel’s "
        "choice. Test images were only scored.",
        *(plain if seen else ()),
        "All seeds share one synthesis: the intervals cover the randomness of the tuning, not that "
        "of the synthesis. The controls have the same sources, negative labels and tuning; only "
        "the synthetic images differ.",
        "The mini world is small and mostly drawn. These results show that its parts work together "
        "and say nothing about ImageNet.",
    )
