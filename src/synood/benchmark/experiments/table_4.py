"""Table 4 and beyond: kinds of images by what is tuned."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from synood.benchmark.experiments.interface import Experiment, Outcome, variant
from synood.benchmark.experiments.setup import Setup, measured_outcome
from synood.benchmark.protocol.controls import CONTROLS, NEG_IMAGE
from synood.benchmark.protocol.methods import NEGLABEL, SYNOOD

if TYPE_CHECKING:
    from synood.benchmark.protocol.methods import Method
    from synood.benchmark.results.comparisons import SeedScores
    from synood.detector.ood_detector import OODDetector

TUNED = {"projection": "projection", "labels": "labels", "both": "projection and labels"}


def run(setup: Setup) -> Outcome:
    """Tune the projection, the labels, and both, on each kind of image."""
    images = {SYNOOD: setup.synthetic()}
    images |= {kind: setup.paint(kind) for kind in (NEG_IMAGE, *CONTROLS)}
    scores: dict[str, list[SeedScores]] = {NEGLABEL.name: setup.system(NEGLABEL.name)[0]}
    methods: list[Method] = [NEGLABEL]
    for kind, synthetic in images.items():
        whole = {seed: setup.retuner.detector(synthetic, seed) for seed in setup.seeds}
        for part, title in TUNED.items():
            line = variant(
                f"{kind.name}:{part}", f"{_title(kind)}, {title}", kind.paper, kind.needs
            )
            methods.append(line)
            halves = {seed: half(setup, made, part) for seed, made in whole.items()}
            scores[line.name] = setup.scored(line.title, halves.__getitem__)
    return measured_outcome(setup, methods, scores, NEGLABEL.name)


def _title(kind: Method) -> str:
    return "Grad Image" if kind == SYNOOD else kind.title


def half(setup: Setup, detector: OODDetector, part: str) -> OODDetector:
    """Undo one half of the tuning; the halves are independent, so this is as if never tuned."""
    if part == "labels":
        return replace(detector, projection=None)
    if part == "projection":
        untuned = setup.retuner.negative_features()
        return replace(detector, negative_features=untuned, tuned_rows=())
    return detector


TABLE_4 = Experiment(
    "table-4",
    "Table 4: image kinds by what is tuned",
    "What is the guided painting worth, and what each half of the tuning?",
    run,
)
