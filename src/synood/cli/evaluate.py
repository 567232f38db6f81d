"""`synood evaluate`: detectors measured on images of one's own or on a benchmark by name."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from synood.cli.console import deliver, reporter, warn
from synood.cli.options import (  # noqa: TC001
    Device,
    Flag,
    InDistribution,
    MaxBad,
    MovedModels,
    Overwrite,
    Preprocess,
    Several,
)
from synood.errors import InputError
from synood.files import readable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from synood.benchmark.protocol.outside_scores import OutsideScores
    from synood.benchmark.results.results import OodGroup, Results
    from synood.benchmark.suites.suite import Suite
    from synood.cli.measuring import Contestant, Sets
    from synood.images.sources import ImageIndex

OWN = "evaluation.json"  # in a detector's run, without --out


def evaluate(
    detector: Path,
    /,
    *others: Path,
    id: InDistribution = None,
    ood: Several = (),
    near_ood: Several = (),
    baselines: Flag = False,
    train: Path | None = None,
    scores: Several = (),
    anomaly_scores: Several = (),
    benchmark: str | None = None,
    root: Path | None = None,
    preprocess: Preprocess = None,
    max_bad: MaxBad = 0.05,
    out: Path | None = None,
    overwrite: Overwrite = False,
    models: MovedModels = None,
    device: Device = "auto",
) -> None:
    """Measure detectors (AUROC, FPR95) on in-distribution and OOD images or on a benchmark.

    Also printed: what a detector does at its own threshold, with 95 % intervals, and how much \
better or worse it is than the others on the same images. `synood report` makes a page of the \
results. On a benchmark, the published figures of NegLabel and SynOOD are printed beside the \
measured ones.

    Parameters
    ----------
    detector
        Directory of the detector, or its id OWNER/NAME on the Hugging Face hub.
    others
        More detectors to measure on the same images; NAME=DETECTOR names one in the tables.
    ood
        OOD images as NAME=PATH, PATH as for --id; repeatable.
    near_ood
        OOD images that resemble the classes, as NAME=PATH; averaged separately; repeatable.
    baselines
        Also measure 1-NN, class mean, Mahalanobis++, a linear head, NegLabel and MCM on the same \
encoder.
    train
        Folder per class that the baselines learn from; that of the detector's run if not given.
    scores
        Scores of another tool as NAME=FILE: CSV or JSONL with path and score, higher = more \
in-distribution; repeatable.
    anomaly_scores
        The same with higher = more OOD.
    benchmark
        Benchmark to use instead of your own data (see `synood benchmark list`).
    root
        Folder that holds the benchmark's image sets.
    out
        JSON file for the results; if not given, evaluation.json or results-BENCHMARK.json in the \
detector's run.
    """
    from synood.benchmark.results.results import write_results
    from synood.cli.inputs import check_fraction, run_of
    from synood.cli.measuring import contestants, read_outside, split_name
    from synood.cli.outputs import check_output_file

    _check_inputs(id, (*ood, *near_ood), benchmark, root)
    check_fraction(max_bad)
    if train is not None and not baselines:
        raise InputError("evaluate: --train needs --baselines")
    run = run_of(split_name(str(detector))[1])
    read: list[object] = [train, id, *(split_name(str(one))[1] for one in (detector, *others))]
    read += [t.partition("=")[2] for t in (*ood, *near_ood, *scores, *anomaly_scores)]
    if out is not None:
        check_output_file(out, overwrite, read)
    target = out or _place_in_run(run, benchmark, read)
    outside = read_outside(scores, anomaly_scores)
    found = contestants((detector, *others), device, models)
    notes = _preprocessed(found, preprocess)
    sets, known = _sets(id, (ood, near_ood), benchmark, root, found, notes)
    cache = run / "features" if run and benchmark else None
    asked = _Asked(baselines, train or known, outside, max_bad, benchmark, cache)
    results, table = _measure(found, sets, asked, notes)
    if target is not None:
        write_results(target, results)
    deliver("".join(f"note: {sentence}\n" for sentence in notes) + table + "\n")
    if target is not None:
        deliver(f"results: {_shown(target)}\nnext: synood report {_shown(target)}\n")


def _place_in_run(run: Path | None, benchmark: str | None, read: Iterable[object]) -> Path | None:
    """Return where results go without --out; None outside a run, and in one that takes none."""
    from synood.cli.outputs import check_output_file

    if run is None:
        return None
    target = run / (f"results-{benchmark}.json" if benchmark else OWN)
    try:
        check_output_file(target, overwrite=True, inputs=read)
    except InputError as error:
        warn(f"{error}; the results are printed and not kept (--out keeps them)")
        return None
    return target


def _shown(path: Path) -> str:
    """Return a path as it is typed: relative to the working directory where it lies below."""
    here = Path.cwd()
    return readable(path.relative_to(here) if path.is_relative_to(here) else path)


@dataclass(frozen=True)
class _Asked:
    """What is measured beside the detectors."""

    baselines: bool
    train: Path | ImageIndex | None
    outside: Sequence[tuple[str, OutsideScores]]
    max_bad: float
    benchmark: str | None
    cache: Path | None


def _check_inputs(
    id: Path | None, sets: tuple[str, ...], benchmark: str | None, root: Path | None
) -> None:
    if benchmark is not None and (id is not None or sets):
        raise InputError("evaluate: give either --benchmark, or --id with --ood")
    if benchmark is None and root is not None:
        raise InputError("evaluate: --root needs --benchmark")
    if benchmark is None and id is None:
        raise InputError("evaluate: give in-distribution images (--id DIR) or --benchmark")


def _preprocessed(found: list[Contestant], preprocess: Preprocess) -> list[str]:
    """Give every detector the named preprocessing; return what is to be noted."""
    from synood.benchmark.protocol.evaluation import with_preprocess

    notes: dict[str, None] = {}
    for place, one in enumerate(found if preprocess is not None else ()):
        changed, sentence = with_preprocess(one.detector, str(preprocess))
        found[place] = replace(one, detector=changed)
        notes |= {sentence: None} if sentence else {}
    return [*notes]


def _sets(
    id: Path | None,
    given: tuple[Sequence[str], Sequence[str]],
    benchmark: str | None,
    root: Path | None,
    found: Sequence[Contestant],
    notes: list[str],
) -> tuple[Sets, ImageIndex | None]:
    """List the images to measure on and, of a benchmark, those to train baselines on."""
    from synood.benchmark.protocol.own_sets import labelled
    from synood.cli.inputs import ood_sets, run_of, warn_of_photographs, warn_of_tuned_images
    from synood.cli.measuring import Sets
    from synood.images.checks import shared_warnings
    from synood.images.listing import listed_images

    if benchmark is not None:
        return _benchmark_sets(benchmark, root, found, notes)
    inside = labelled(listed_images([str(id)]), found[0].detector.class_names)
    sets = Sets(inside, tuple(ood_sets(*given)))
    for sentence in shared_warnings(
        sets.inside, [(name, index) for name, index, _ in sets.outside]
    ):
        warn(sentence)
    for path in dict.fromkeys(run_of(one.path) or one.path for one in found):
        warn_of_tuned_images(path / "detector", sets.inside)
    for one in {one.detector.backbone.bundle: one for one in found}.values():
        warn_of_photographs(one.detector, sets.inside)
    return sets, None


def _benchmark_sets(
    name: str, root: Path | None, found: Sequence[Contestant], notes: list[str]
) -> tuple[Sets, ImageIndex | None]:
    from synood.benchmark.protocol.evaluation import check_classes
    from synood.benchmark.suites.layouts import open_benchmark
    from synood.cli.measuring import Sets

    suite = open_benchmark(name, root, roles=("test",))
    for one in found:
        check_classes(one.detector, suite)
    notes += _differences(name, root, suite)
    outside: list[tuple[str, ImageIndex, OodGroup]] = [
        (item.name, item.index(), "near" if item.group == "near" else "far")
        for item in suite.ood("test")
    ]
    trained = [item for item in suite.sets if (item.group, item.role) == ("id", "train")]
    return Sets(suite.one("test").index(), tuple(outside)), trained[0].index() if trained else None


def _measure(
    found: Sequence[Contestant], sets: Sets, asked: _Asked, notes: Sequence[str]
) -> tuple[Results, str]:
    """Measure everything that was asked for; return the results and what is printed."""
    from synood.benchmark.protocol.evaluation import record_of
    from synood.benchmark.protocol.own_sets import (
        INSIDE,
        compared,
        label_accuracy,
        operating_points,
        rows_of,
    )
    from synood.benchmark.report.own_record import detector_record, own_record
    from synood.benchmark.report.own_text import evaluation_text
    from synood.benchmark.results.published import published
    from synood.benchmark.results.results import Results
    from synood.cli.inputs import run_of
    from synood.cli.measuring import baselines, find, measured_outside, untuned
    from synood.detector.drift import drift_warning, known_warning
    from synood.detector.prediction import image_evidence_of

    with reporter() as progress:
        findings = find(found, sets, progress, asked.max_bad, asked.cache)
        first, detectors = findings[0], [one.measured for one in findings]
        for one in findings:
            inside, calibration = one.measured.scores[INSIDE], one.detector.calibration
            looks = image_evidence_of(one.predicted[INSIDE])
            for told in (
                known_warning(calibration, inside),
                drift_warning(calibration, inside, looks, in_distribution=True),
            ):
                if told:
                    warn(f"{one.measured.method.title}: in-distribution: {told}")
        measured = measured_outside(asked.outside, first)
        if asked.baselines:
            measured += baselines(first, found[0], asked.train, progress, asked.max_bad)
        elif asked.benchmark:
            measured += untuned(first)
    measured += detectors
    rows = rows_of(measured, sets.groups)
    comparisons = compared(detectors[0].method.name, measured, rows)
    points = [point for one in detectors for point in operating_points(one, sets.groups)]
    run = {
        **record_of(first.detector, first.indexes),
        **({"unreadable": first.unreadable} if first.unreadable else {}),
        **({"benchmark": asked.benchmark} if asked.benchmark else {}),
        "detectors": [detector_record(one) for one in findings],
        "remarks": list(notes),
        **own_record(measured, sets.groups, first, points, comparisons, run_of(found[0].path)),
    }
    names = [item.method.name for item in measured]
    others = published(asked.benchmark, names) if asked.benchmark else ()
    results = Results(run, rows, tuple(row.to_json() for row in others))
    labels = label_accuracy(first)
    return results, evaluation_text(results, asked.benchmark, points, labels, comparisons)


def _differences(name: str, root: Path | None, suite: Suite) -> list[str]:
    """Say where the sets on disk are not those that published figures were measured on."""
    from synood.benchmark.suites.verify import check_benchmark

    if suite.by_content:
        return []
    checked = check_benchmark(name, root, roles=("test",))
    return [f"{item.name}: {problem}" for item in checked.sets for problem in item.problems]
