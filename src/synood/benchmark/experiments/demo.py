"""The whole method on one suite, beside baselines and controls: `results.json`, `report.html`.

The output directory is a run directory (the run of the detector that it ends with) that also
holds the suite and the controls' images; interrupted, the same call goes on where it stopped.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from synood.benchmark.protocol import scoring
from synood.benchmark.protocol.controls import CONTROLS, ControlSynthesizer
from synood.benchmark.protocol.methods import BASELINES, NEGLABEL, SYNOOD, titles
from synood.benchmark.protocol.predictions import SCORES, judge, write_predictions
from synood.benchmark.protocol.retune import (
    Retuner,
    guide_of,
    paint_control,
    read_class_images,
    read_pairs,
)
from synood.benchmark.report.page import load_report
from synood.benchmark.report.records import comparisons_to_json, methods_to_json
from synood.benchmark.report.report import write_report
from synood.benchmark.results import tables
from synood.benchmark.results.comparisons import compare
from synood.benchmark.results.results import Results, write_results
from synood.benchmark.results.text import text_table
from synood.benchmark.suites.mini import prepare_mini
from synood.errors import InputError
from synood.features.store import FeatureStore
from synood.files import sha256_file
from synood.models.bundles import load_bundle
from synood.models.loaded import Models
from synood.pipeline import run as pipeline
from synood.pipeline.recipe import resolve_recipe, with_changes
from synood.pipeline.rundir.workspace import Workspace, opened

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from synood.benchmark.protocol.methods import Method
    from synood.benchmark.protocol.predictions import ScoredImage
    from synood.benchmark.protocol.retune import ImagePair
    from synood.benchmark.protocol.scoring import Choices, EncodedSuite
    from synood.benchmark.protocol.system import Scorer
    from synood.benchmark.report.report import Report
    from synood.benchmark.results.comparisons import Comparison, SeedScores
    from synood.benchmark.suites.mini import Split, SuiteWriter
    from synood.benchmark.suites.suite import Suite
    from synood.detector.ood_detector import OODDetector
    from synood.models.bundles import Bundle
    from synood.models.classifier import Classifier
    from synood.pipeline.rundir.shards import Synthetic
    from synood.progress import Progress
    from synood.settings import Recipe

STAGES = (
    "suite",
    "view",
    "words",
    *pipeline.STAGES,
    *(f"control: {control.title}" for control in CONTROLS),
    "seeds",
    "report",
)
METHODS = (*BASELINES, SYNOOD, *CONTROLS)
SEEDS = 5  # of the tuning; three would make the intervals twice as wide
RESAMPLES = 200  # of the test images, for the intervals of a row and of a difference
TPR = 0.95  # share of in-distribution validation images that the threshold keeps


def run_demo(
    out: Path,
    seeds: int = SEEDS,
    progress: Progress | None = None,
    *,
    overwrite: bool = False,
    models: str | Path | Bundle = "mini",
    recipe: str | Path | Recipe = "paper",
    split: Split = "main",
    device: str = "cpu",
    resamples: int = RESAMPLES,
    writer: SuiteWriter | None = None,
) -> str:
    """Run the method on the mini suite and measure it; return what is to be printed.

    Writes into `out` everything of a run (`detector/` and all that led to it), the suite, the
    controls' images, `results.json`, `scores.jsonl` and `report.html`. `seeds` (at least 3)
    tunings share one synthesis. On one machine the same call gives the same bytes; interrupted, it
    goes on where it stopped. `resamples` bound the figures for other test images; `writer` draws
    the suite in place of the mini world.

    Raises `InputError` for fewer seeds, and for an `out` that holds other things or another suite.
    """
    if seeds < 3:
        raise InputError(f"seeds: an interval needs at least 3 of the tuning, not {seeds}")
    bundle = load_bundle(models)
    start = resolve_recipe(recipe, bundle.recipe_defaults)
    with opened(out, progress) as workspace:
        workspace.stage("suite")(0, 1, "")
        suite = prepare_mini(out / "suite", split=split, writer=writer)
        workspace.stage("suite")(1, 1, f"{sum(item.n for item in suite.sets)} images")
        room = _prepare(workspace, suite, Models(bundle, device), start)
    index = suite.one("train").index()
    detector = pipeline.fit(
        index, bundle, room.recipe, out, progress=progress, device=device, overwrite=overwrite
    )
    with opened(out, progress) as workspace:
        return _measure_and_tell(workspace, room, detector, seeds, resamples)


@dataclass(frozen=True, eq=False)
class _Room:
    """What is known before the method runs; `recipe` holds what validation chose."""

    suite: Suite
    models: Models
    store: FeatureStore
    classifier: Classifier
    encoded: EncodedSuite
    recipe: Recipe
    choices: Choices
    baselines: dict[str, list[SeedScores]]


def _prepare(workspace: Workspace, suite: Suite, models: Models, recipe: Recipe) -> _Room:
    """View the suite, choose on validation, score the baselines on test."""
    store = FeatureStore(
        workspace.root / "features",
        models.part_fingerprint("encoder"),
        lambda: models.encoder,
        device=models.device,
    )
    train = suite.one("train")
    classifier = scoring.suite_classifier(train, models, store)
    encoded = scoring.encode_suite(suite, store, classifier, workspace.stage("view"))
    names, prompt_set = train.index().class_names, recipe.mining.prompt_set
    words = scoring.encode_words(models, store, recipe.mining, workspace.stage("words"))
    class_rows = scoring.class_features(names, store, prompt_set)
    choices = scoring.choose(words, names, class_rows, encoded, recipe)
    recipe = with_changes(recipe, choices.recipe_changes(), "the choice on validation images")
    scorers = scoring.baseline_scorers(words, names, class_rows, choices, recipe)
    scores = {name: [scoring.seed_scores(scorer, 0, encoded)] for name, scorer in scorers.items()}
    return _Room(suite, models, store, classifier, encoded, recipe, choices, scores)


def _measure_and_tell(
    workspace: Workspace, room: _Room, detector: OODDetector, seeds: int, resamples: int
) -> str:
    """Tune under the other seeds and on the controls, measure, write, return what to print."""
    out = workspace.root
    detector = detector.calibrate(detector.score_features(room.encoded.validation.features), TPR)
    detector.save_pretrained(out / "detector")
    pairs = read_pairs(out, room.suite.one("train").index())
    images = {SYNOOD.name: [item.synthetic for item in pairs]}
    for control in CONTROLS:
        images[control.name] = _paint_control(workspace, room, control, pairs)
    tuned = _tune_all(workspace, room, detector, pairs, images, seeds)
    scores = {**room.baselines, **tuned}

    workspace.stage("report")(0, 1, "measuring")
    rows = scoring.measure(METHODS, scores, room.encoded, resamples)
    others = [NEGLABEL.name, *(control.name for control in CONTROLS)]
    comparisons = tuple(compare(SYNOOD.name, others, scores, tables.columns(rows), resamples))
    record = _record(out, room, detector, seeds, comparisons)
    write_predictions(out / SCORES, _judged(room, detector))
    write_results(out / "results.json", Results(record, rows))
    report = load_report(out)
    write_report(out / "report.html", report)
    workspace.stage("report")(1, 1, "")
    return _told(out, report)


def _paint_control(
    workspace: Workspace, room: _Room, control: Method, pairs: Sequence[ImagePair]
) -> list[Synthetic]:
    """Paint a control's images, one per image that the run painted."""
    own = Workspace(workspace.root, _Renamed(workspace, f"control: {control.title}"))
    names = room.suite.one("train").index().class_names

    def synthesizer() -> ControlSynthesizer:
        guide = guide_of(room.recipe, room.models, room.store, names, room.classifier)
        return ControlSynthesizer(room.models, guide, room.recipe.guidance, pipeline.BATCH_SIZE)

    return paint_control(control, pairs, synthesizer, own)


def _tune_all(
    workspace: Workspace,
    room: _Room,
    detector: OODDetector,
    pairs: Sequence[ImagePair],
    images: dict[str, list[Synthetic]],
    seeds: int,
) -> dict[str, list[SeedScores]]:
    """Tune on each kind of images under each seed and score the test sets.

    Seed 0 of SynOOD is the detector that the run saved.
    """
    advance = workspace.stage("seeds")
    retuner = Retuner(
        pairs,
        detector.class_names,
        room.models,
        room.store,
        room.recipe,
        workspace,
        read_class_images(workspace.root, room.suite.one("train").index()),
    )
    scores: dict[str, list[SeedScores]] = {name: [] for name in images}
    for seed in range(seeds):
        for name, stand_ins in images.items():
            the_runs_own = name == SYNOOD.name and seed == 0
            tuned = detector if the_runs_own else retuner.detector(stand_ins, seed)
            scorer = _scorer(tuned)
            scores[name].append(scoring.seed_scores(scorer, seed, room.encoded))
            advance(sum(map(len, scores.values())), seeds * len(images), f"{name}, seed {seed}")
    return scores


def _judged(room: _Room, detector: OODDetector) -> Iterator[ScoredImage]:
    """Yield what the saved detector says of every test image."""
    sets = [room.suite.one("test"), *room.suite.ood("test")]
    for item, seen in zip(sets, [room.encoded.test, *room.encoded.test_ood], strict=True):
        yield from judge(detector, item, seen)


def _scorer(detector: OODDetector) -> Scorer:
    return lambda encoded: detector.score_features(encoded.features)


def _record(
    out: Path,
    room: _Room,
    detector: OODDetector,
    seeds: int,
    comparisons: Sequence[Comparison],
) -> dict[str, Any]:
    """Return what results.json says of the run: its run.toml and what the demo adds."""
    record = tomllib.loads((out / "run.toml").read_text(encoding="utf-8"))
    del record["schema"]  # of run.toml; results.json has its own
    sets = [
        {"name": item.name, "group": item.group, "role": item.role, "n": item.n}
        for item in room.suite.sets
    ]
    return {
        **record,
        "seeds": list(range(seeds)),
        "suite": {
            "name": room.suite.name,
            "seed": room.suite.seed,
            "split": room.suite.split,
            "sets": sets,
        },
        "fingerprints": {
            "models": room.models.bundle.fingerprint,
            "suite": room.suite.fingerprint(),
            "detector": sha256_file(out / "detector" / "model.safetensors"),
        },
        "choices": room.choices.to_json(),
        "threshold": detector.threshold,
        "methods": methods_to_json(METHODS),
        "comparisons": comparisons_to_json(comparisons),
    }


def _told(out: Path, report: Report) -> str:
    """Return the headline, the table and where the rest lies."""
    findings = [f"- {finding.text}" for finding in report.summary.findings]
    return "\n".join(
        [
            text_table(report.results.rows, titles(report.methods)),
            "",
            "± is the 95 % interval of the mean over the tuning seeds, * the best of a column.",
            "",
            report.summary.headline,
            *findings,
            "",
            f"{out / 'report.html'}, {out / 'results.json'}, {out / 'detector'}",
        ]
    )


class _Renamed:
    """Reports a stage's progress under another name."""

    def __init__(self, workspace: Workspace, name: str) -> None:
        self._advance = workspace.stage(name)

    def __call__(self, stage: str, done: int, total: int, message: str) -> None:
        self._advance(done, total, message)
