"""From a finished demo to its report: which pictures are shown, and the page's sentences."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from PIL import Image

from synood.benchmark.controls import CONTROLS
from synood.benchmark.methods import SYNOOD
from synood.benchmark.reading import read_numbers
from synood.benchmark.report import Distribution, Pair, Report, Strip
from synood.benchmark.tables import title_of
from synood.images.reading import read_image

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from typing import TypeVar

    from synood.benchmark.comparing import Comparison, SeedScores
    from synood.benchmark.methods import Method
    from synood.benchmark.rehearsal import Painted
    from synood.benchmark.results import Results
    from synood.benchmark.suites import Suite
    from synood.pipeline._shards import Synthetic

    T = TypeVar("T")

PAIRS = 16  # shown of all that were painted
STRIPS = 4
LARGEST = 128  # pixels a side of an embedded picture


@dataclass(frozen=True, eq=False)
class Evidence:
    """What the page shows beside the rows.

    `scores` are those of the saved detector with its `threshold`; `pictures` are what was tuned
    on, by method, in the order of `painted`.
    """

    suite: Suite
    scores: SeedScores
    threshold: float
    painted: Sequence[Painted]
    pictures: Mapping[str, Sequence[Synthetic]]


def make_report(
    methods: tuple[Method, ...],
    results: Results,
    comparisons: tuple[Comparison, ...],
    evidence: Evidence,
) -> Report:
    """Put the page together; what it shows of many is evenly spaced, never picked."""
    groups = {item.name: item.group for item in evidence.suite.ood("test")}
    return Report(
        results=results,
        methods=methods,
        comparisons=comparisons,
        reading=read_numbers(results.rows, comparisons, methods),
        distributions=tuple(
            Distribution(title_of(name), groups[name], evidence.scores.in_distribution, scores)
            for name, scores in evidence.scores.ood.items()
        ),
        threshold=evidence.threshold,
        pairs=tuple(_pair(item) for item in evenly(evidence.painted, PAIRS)),
        strips=tuple(
            _strip(place, evidence) for place in evenly(range(len(evidence.painted)), STRIPS)
        ),
        facts=_facts(results.run, evidence),
        notes=_notes(results.run),
    )


def evenly(items: Sequence[T], count: int) -> list[T]:
    """Return at most `count` items, each from the middle of an equal part of the sequence.

    >>> evenly(range(10), 2)
    [2, 7]
    """
    taken = min(count, len(items))
    return [items[(2 * i + 1) * len(items) // (2 * taken)] for i in range(taken)]


def _pair(item: Painted) -> Pair:
    made = item.synthetic
    return Pair(
        source=_png(item.picture.path),
        synthetic=_png(made.path),
        label=item.picture.label,
        prompt=made.prompt,
        negative_label=item.negative_prompt,
        source_energy=made.source_energy,
        energies=made.energies,
        stop=made.stop,
    )


def _strip(place: int, evidence: Evidence) -> Strip:
    source = evidence.painted[place].picture
    pictures = [("source", _png(source.path))]
    for method in (SYNOOD, *CONTROLS):
        pictures.append((method.title, _png(evidence.pictures[method.name][place].path)))
    return Strip(source.label, tuple(pictures))


def _png(path: Path) -> bytes:
    picture = read_image(path)
    picture.thumbnail((LARGEST, LARGEST), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    picture.save(file, "PNG", optimize=True)
    return file.getvalue()


def _facts(run: Mapping[str, Any], evidence: Evidence) -> dict[str, str]:
    suite, painted = evidence.suite, evidence.painted
    ood = suite.ood("test")
    near = sum(item.group == "near" for item in ood)
    shown = min(PAIRS, len(painted))
    return {
        "eyebrow": f"{suite.name} world, {suite.split} split · bundle {run['models']['bundle']} · "
        f"recipe {run['recipe']['name']}",
        "lede": f"{len(suite.one('train').index().class_names)} known classes with "
        f"{suite.one('test').n:,} test pictures, against {sum(item.n for item in ood):,} pictures "
        f"of other things in {near} near and {len(ood) - near} far sets. SynOOD was tuned on "
        f"{len(painted):,} in-distribution pictures and as many painted from them.",
        "intervals": f"± is the 95 % interval of the mean over {len(run['seeds'])} tuning seeds "
        "(Student’s t); a method without randomness has none.",
        "pairs": f"{shown} of {len(painted):,} pairs, evenly spaced through the list, not picked "
        "by eye.",
    }


def _notes(run: Mapping[str, Any]) -> tuple[str, ...]:
    neglabel, mcm = run["choices"]["neglabel"], run["choices"]["mcm"]
    return (
        f"Chosen on validation pictures alone: NegLabel keeps {100 * neglabel['share']:.0f} % of "
        f"the candidate words at temperature {neglabel['temperature']:g}, MCM scores at "
        f"temperature {mcm['temperature']:g}. SynOOD and the controls take over NegLabel’s "
        "choice as it is. Test pictures were only scored.",
        "One synthesis serves all seeds: the intervals hold what the tuning draws at random, not "
        "what the painting draws. The controls stand on the same images, negative labels and "
        "tuning; only the pictures differ.",
        "The world is small and mostly drawn. The figures show how the parts work together here; "
        "they say nothing about ImageNet.",
    )
