"""`synood evaluate`: a detector measured on images of one's own or on a benchmark by name."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - the command line reads the annotations
from typing import TYPE_CHECKING

from synood.cli.console import deliver, reporter, warn_of_unreadable
from synood.cli.options import Device, MaxBad, MovedModels, Overwrite, Preprocess, Several  # noqa: TC001
from synood.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from synood.benchmark.results.results import OodGroup, Results
    from synood.benchmark.suites.suite import Suite
    from synood.detector.ood_detector import OODDetector
    from synood.images.sources import ImageIndex


def evaluate(
    detector: Path,
    /,
    *,
    id: Path | None = None,
    ood: Several = (),
    near_ood: Several = (),
    benchmark: str | None = None,
    root: Path | None = None,
    preprocess: Preprocess = None,
    max_bad: MaxBad = 0.05,
    out: Path | None = None,
    overwrite: Overwrite = False,
    models: MovedModels = None,
    device: Device = "auto",
) -> None:
    """Measure a detector (AUROC, FPR95) on in-distribution and OOD images or on a benchmark.

    On a benchmark, the published figures of NegLabel and SynOOD are printed beside the measured \
ones.

    Parameters
    ----------
    detector
        Directory of the detector.
    id
        In-distribution images that the detector was not made from.
    ood
        OOD images as NAME=PATH; repeatable.
    near_ood
        OOD images that resemble the classes, as NAME=PATH; averaged separately; repeatable.
    benchmark
        Benchmark to use instead of your own data (see `synood benchmark list`).
    root
        Folder that holds the benchmark's image sets.
    out
        JSON file for the results; results-BENCHMARK.json in the detector's run if not given.
    """
    from synood.benchmark.protocol.evaluation import with_preprocess
    from synood.benchmark.results.results import write_results
    from synood.cli.inputs import (
        check_fraction,
        load_detector,
        ood_sets,
        run_of,
        warn_of_tuned_images,
    )
    from synood.cli.outputs import check_output_file
    from synood.images.sources import find_images

    _check_inputs(id, (*ood, *near_ood), benchmark, root)
    check_fraction(max_bad)
    run = run_of(detector) if benchmark else None
    target = out or (run and run / f"results-{benchmark}.json")
    if target is not None:
        given = (id, *(text.partition("=")[2] for text in (*ood, *near_ood)))
        check_output_file(target, overwrite or out is None, given)
    own = None if id is None else find_images([id])
    sets = ood_sets(ood, near_ood) if own else []
    loaded, notes = load_detector(detector, device, models), []
    if preprocess is not None:
        loaded, sentence = with_preprocess(loaded, preprocess)
        notes = [sentence] if sentence else []
    if benchmark is None and own is not None:
        warn_of_tuned_images(detector, own)
        results, table = _on_own(loaded, own, sets, max_bad)
    else:
        results, table = _on_benchmark(loaded, str(benchmark), root, run, notes, max_bad)
    if target is not None:
        write_results(target, results)
    deliver("".join(f"note: {sentence}\n" for sentence in notes) + table + "\n")
    if target is not None and benchmark is not None:
        deliver(f"results: {target}\n")


def _check_inputs(
    id: Path | None, sets: tuple[str, ...], benchmark: str | None, root: Path | None
) -> None:
    if benchmark is not None and (id is not None or sets):
        raise InputError("evaluate: give either --benchmark, or --id with --ood")
    if benchmark is None and root is not None:
        raise InputError("evaluate: --root needs --benchmark")
    if benchmark is None and id is None:
        raise InputError("evaluate: give in-distribution images (--id DIR) or --benchmark")


def _on_own(
    detector: OODDetector,
    own: ImageIndex,
    sets: Sequence[tuple[str, ImageIndex, OodGroup]],
    max_bad: float,
) -> tuple[Results, str]:
    from synood.benchmark.protocol.evaluation import ScoredSet, evaluate_detector
    from synood.benchmark.protocol.methods import NEGLABEL, SYNOOD, titles
    from synood.benchmark.results.text import text_table
    from synood.cli.inputs import score_images

    with reporter() as progress:
        found = [
            (name, group, score_images(detector, index, name, progress, max_bad))
            for name, index, group in [("id", own, None), *sets]
        ]
    for name, _, scored in found:
        warn_of_unreadable(scored.unreadable, name)
    inside, *outside = [
        ScoredSet(name if group else "in-distribution", scored.index, scored.scores, group or "far")
        for name, group, scored in found
    ]
    results = evaluate_detector(detector, inside, outside)
    return results, text_table(results.rows, titles((NEGLABEL, SYNOOD)))


def _on_benchmark(
    detector: OODDetector,
    name: str,
    root: Path | None,
    run: Path | None,
    notes: list[str],
    max_bad: float,
) -> tuple[Results, str]:
    from synood.benchmark.protocol.evaluation import evaluate_suite
    from synood.benchmark.protocol.methods import NEGLABEL, SYNOOD, titles
    from synood.benchmark.results.text import table_with_published
    from synood.benchmark.suites.layouts import open_benchmark

    suite = open_benchmark(name, root, roles=("test",))
    notes += _differences(name, root, suite)
    with reporter() as progress:
        cache = run and run / "features"
        results = evaluate_suite(detector, suite, progress, cache, notes, max_bad)
    for unread, reasons in results.run.get("unreadable", {}).items():
        warn_of_unreadable(reasons, unread)
    return results, table_with_published(results, name, titles((NEGLABEL, SYNOOD)))


def _differences(name: str, root: Path | None, suite: Suite) -> list[str]:
    """Say where the sets on disk are not those that published figures were measured on."""
    from synood.benchmark.suites.verify import check_benchmark

    if suite.by_content:
        return []
    checked = check_benchmark(name, root, roles=("test",))
    return [f"{item.name}: {problem}" for item in checked.sets for problem in item.problems]
