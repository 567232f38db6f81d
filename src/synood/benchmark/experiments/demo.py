"""The demo: the whole method on the mini suite, compared with baselines and controls.

The output directory is a run directory (of the detector that it ends with) that also holds the
suite and the controls' images; interrupted, the same call goes on where it stopped.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from synood.benchmark.experiments._recipes import as_recipe
from synood.benchmark.experiments.interface import Outcome
from synood.benchmark.experiments.plus import SYNOOD_PLUS, scored_with
from synood.benchmark.experiments.setup import prepare
from synood.benchmark.experiments.writing import run_record
from synood.benchmark.protocol.controls import CONTROLS
from synood.benchmark.protocol.methods import BASELINES, NEGLABEL, SYNOOD, titles
from synood.benchmark.protocol.predictions import LOG_ODDS, SCORES, score_images, write_predictions
from synood.benchmark.report.page import load_report
from synood.benchmark.report.records import comparisons_to_json, methods_to_json
from synood.benchmark.report.report import write_report
from synood.benchmark.results.results import Results, write_results
from synood.benchmark.results.text import text_table
from synood.benchmark.suites.mini import prepare_mini
from synood.benchmark.systems.encoder_features import ENCODER_BASELINES
from synood.errors import InputError
from synood.files import readable, sha256_file
from synood.models.bundles import load_bundle
from synood.pipeline import run as pipeline
from synood.pipeline.recipe import resolve_recipe
from synood.pipeline.rundir.workspace import open_run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from synood.benchmark.experiments.setup import Setup
    from synood.benchmark.protocol.predictions import ScoredImage
    from synood.benchmark.report.report import Report
    from synood.benchmark.results.comparisons import SeedScores
    from synood.benchmark.suites.mini import Split, SuiteWriter
    from synood.detector.ood_detector import OODDetector
    from synood.models.bundles import Bundle
    from synood.progress import Progress
    from synood.settings import Recipe

PROGRESS_STAGES = (
    "suite",
    "view",
    *pipeline.STAGES,
    *(f"control: {control.title}" for control in CONTROLS),
    "experiment",
    "report",
)
COMPARED = (*BASELINES, *ENCODER_BASELINES)  # systems of the registry
METHODS = (*COMPARED, SYNOOD, SYNOOD_PLUS, *CONTROLS)
SEEDS = 5  # of the tuning; three would make the intervals twice as wide
RESAMPLES = 200  # of the test images, for the intervals of a row and of a difference
TPR = 0.95  # fraction of in-distribution validation images that the threshold keeps


def run_demo(
    out: Path,
    seeds: int = SEEDS,
    progress: Progress | None = None,
    *,
    overwrite: bool = False,
    models: str | Path | Bundle = "mini",
    recipe: str | Path | Recipe = "paper",
    split: Split = "hard",
    device: str = "auto",
    resamples: int = RESAMPLES,
    writer: SuiteWriter | None = None,
) -> str:
    """Run the method on the mini suite and measure it; return the text to print.

    Writes to `out` a whole run (with `detector/`), the suite, the controls' images,
    `results.json`, `scores.jsonl` and `report.html`. The synthetic images are made once and tuned
    on under `seeds` seeds, at least 3. Equal calls give equal bytes on one machine; interrupted,
    the same call goes on where it stopped. `resamples` is the number of bootstrap samples;
    `writer` writes the suite instead of the mini world.

    Raises `InputError` for fewer seeds, and for an `out` with other files or another suite.
    """
    if seeds < 3:
        raise InputError(f"seeds: an interval needs at least 3, not {seeds}")
    bundle = load_bundle(models)
    start = resolve_recipe(recipe, bundle.recipe_defaults)
    if (out / "detector").is_dir() and not (out / "suite").is_dir() and not overwrite:
        raise InputError(
            f"{readable(out)}: holds a run of other images; choose another directory, or add "
            "--overwrite (overwrite=True in Python)"
        )
    with open_run(out, progress) as workspace:
        workspace.stage("suite")(0, 1, "")
        suite = prepare_mini(out / "suite", split=split, writer=writer)
        workspace.stage("suite")(1, 1, f"{sum(item.n for item in suite.sets)} images")
    setup = prepare(
        out,
        suite,
        bundle,
        start,
        range(seeds),
        device=device,
        resamples=resamples,
        progress=progress,
        overwrite=overwrite,
    )
    with open_run(out, progress) as workspace:
        setup = replace(setup, workspace=workspace)
        detector = calibrated(setup)
        outcome = run(setup)
        workspace.stage("report")(0, 1, "measuring")
        write_predictions(out / SCORES, _predictions(setup, detector))
        record = _record(setup, detector, outcome)
        write_results(out / "results.json", Results(record, outcome.rows))
        report = load_report(out)
        write_report(out / "report.html", report)
        workspace.stage("report")(1, 1, "")
    return _printed(out, report)


def calibrated(setup: Setup) -> OODDetector:
    """Set the threshold of the run's own detector on validation images, and save it."""
    detector = setup.detector
    detector = detector.calibrate(detector.score_features(setup.encoded.validation.features), TPR)
    detector.save_pretrained(setup.workspace.root / "detector")
    return detector


def run(setup: Setup) -> Outcome:
    """Measure the baselines, SynOOD and plus, and SynOOD's tuning on the controls' images.

    Without plus, if it is the run's own recipe.
    """
    images = {SYNOOD: setup.synthetic()} | {control: setup.paint(control) for control in CONTROLS}
    scores: dict[str, list[SeedScores]] = {}
    chosen: dict[str, object] = {}
    for method in COMPARED:
        scores[method.name], chosen[method.name] = setup.system(method.name)
    for method, synthetic in images.items():
        tuned = partial(setup.retuner.detector, synthetic)
        scores[method.name] = setup.scored(method.title, tuned)
    plus = as_recipe(setup.recipe, "plus")
    if plus != setup.recipe:
        own = images[SYNOOD]
        scores[SYNOOD_PLUS.name] = scored_with(setup, SYNOOD_PLUS.title, plus, own)
    methods = tuple(method for method in METHODS if method.name in scores)
    rows = setup.measured(methods, scores)
    plain = [method.name for method in (NEGLABEL, *ENCODER_BASELINES)]
    controls = [control.name for control in CONTROLS]
    compared = setup.compared(SYNOOD.name, [*plain, *controls], scores, rows)
    if SYNOOD_PLUS in methods:
        more = setup.compared(SYNOOD_PLUS.name, [*plain, SYNOOD.name], scores, rows)
        compared = (*compared, *more)
    return Outcome(methods, rows, compared, details={"chosen": chosen})


def _predictions(setup: Setup, detector: OODDetector) -> Iterator[ScoredImage]:
    """Yield what the saved detector says of every test image."""
    sets = [setup.suite.one("test"), *setup.suite.ood("test")]
    for item, encoded in zip(sets, [setup.encoded.test, *setup.encoded.test_ood], strict=True):
        yield from score_images(detector, item, encoded)


def _record(setup: Setup, detector: OODDetector, outcome: Outcome) -> dict[str, Any]:
    """Return what results.json says of the run."""
    record = run_record(setup)
    return {
        **record,
        "fingerprints": {
            "models": setup.inputs.models.bundle.fingerprint,
            "suite": record["suite"]["fingerprint"],
            "detector": sha256_file(setup.workspace.root / "detector" / "model.safetensors"),
        },
        "score": LOG_ODDS,
        "threshold": detector.threshold,
        "chosen": outcome.details["chosen"],
        "methods": methods_to_json(outcome.methods),
        "comparisons": comparisons_to_json(outcome.comparisons),
    }


def _printed(out: Path, report: Report) -> str:
    """Return the table, the findings, and where the files are."""
    return "\n".join(
        [
            text_table(report.results.rows, titles(report.methods)),
            "",
            "± is the 95 % interval of the mean over the tuning seeds, * the best of a column.",
            "",
            report.summary.headline,
            *(f"- {finding.text}" for finding in report.summary.findings),
            "",
            f"{out / 'report.html'}, {out / 'results.json'}, {out / 'detector'}",
        ]
    )
