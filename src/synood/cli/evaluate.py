"""`synood evaluate`: a detector measured on images of one's own or on a benchmark by name."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - the command line reads the annotations
from typing import TYPE_CHECKING

from synood.cli.console import deliver, reporter
from synood.cli.options import Device, MovedModels, Preprocess, Several  # noqa: TC001
from synood.errors import InputError

if TYPE_CHECKING:
    from synood.benchmark.results.results import Results
    from synood.benchmark.suites.suite import Suite
    from synood.detector.ood_detector import OODDetector


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
    out: Path | None = None,
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
    from synood.cli.inputs import load_detector

    _check_inputs(id, (*ood, *near_ood), benchmark, root)
    judge, said = load_detector(detector, device, models), []
    if preprocess is not None:
        judge, sentence = with_preprocess(judge, preprocess)
        said = [sentence] if sentence else []
    if benchmark is None:
        results, table = _on_own(judge, id, ood, near_ood)
    else:
        run = _run_of(detector)
        results, table = _on_benchmark(judge, benchmark, root, run, said)
        out = out or (run and run / f"results-{benchmark}.json")
    if out is not None:
        write_results(out, results)
    deliver("".join(f"note: {sentence}\n" for sentence in said) + table + "\n")
    if out is not None and benchmark is not None:
        deliver(f"results: {out}\n")


def _check_inputs(
    id: Path | None, sets: tuple[str, ...], benchmark: str | None, root: Path | None
) -> None:
    if benchmark is not None and (id is not None or sets):
        raise InputError("evaluate: give either --benchmark, or --id with --ood, not both")
    if benchmark is None and root is not None:
        raise InputError("evaluate: --root goes with --benchmark")
    if benchmark is None and id is None:
        raise InputError("evaluate: give in-distribution images (--id DIR), or a --benchmark")


def _on_own(
    judge: OODDetector, id: Path | None, ood: tuple[str, ...], near_ood: tuple[str, ...]
) -> tuple[Results, str]:
    from synood.benchmark.protocol.evaluation import ScoredSet, evaluate_detector
    from synood.benchmark.protocol.methods import NEGLABEL, SYNOOD, titles
    from synood.benchmark.results.text import text_table
    from synood.cli.inputs import ood_sets, scores_of
    from synood.images.sources import find_images

    own = find_images([id] if id else [])
    sets = ood_sets(ood, near_ood)
    with reporter() as progress:
        scored = [
            ScoredSet(name, index, scores_of(judge, index, name, progress), group)
            for name, index, group in sets
        ]
        inside = ScoredSet("in-distribution", own, scores_of(judge, own, "id", progress))
    results = evaluate_detector(judge, inside, scored)
    return results, text_table(results.rows, titles((NEGLABEL, SYNOOD)))


def _on_benchmark(
    judge: OODDetector, name: str, root: Path | None, run: Path | None, said: list[str]
) -> tuple[Results, str]:
    from synood.benchmark.protocol.evaluation import evaluate_suite
    from synood.benchmark.protocol.methods import NEGLABEL, SYNOOD, titles
    from synood.benchmark.results.text import table_with_published
    from synood.benchmark.suites.layouts import open_benchmark

    suite = open_benchmark(name, root, roles=("test",))
    said += _differences(name, root, suite)
    with reporter() as progress:
        cache = run and run / "features"
        results = evaluate_suite(judge, suite, progress, cache, said)
    return results, table_with_published(results, name, titles((NEGLABEL, SYNOOD)))


def _differences(name: str, root: Path | None, suite: Suite) -> list[str]:
    """Say where the sets on disk are not those that published figures were measured on."""
    from synood.benchmark.suites.verify import check_benchmark

    if suite.by_content:
        return []
    checked = check_benchmark(name, root, roles=("test",))
    return [f"{item.name}: {problem}" for item in checked.sets for problem in item.problems]


def _run_of(detector: Path) -> Path | None:
    """Return the run directory that a detector lies in, None for a detector by itself."""
    parent = detector.resolve().parent
    return parent if (parent / "run.toml").is_file() else None
