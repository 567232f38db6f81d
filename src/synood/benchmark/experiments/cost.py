"""Inference cost: parameters added to the encoder, and time per image."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from synood.benchmark.experiments.interface import Experiment, Outcome
from synood.benchmark.protocol.methods import NEGLABEL, SYNOOD
from synood.models.counting import parameter_count

if TYPE_CHECKING:
    from collections.abc import Callable

    from synood.benchmark.experiments.setup import Setup
    from synood.detector.ood_detector import OODDetector

REPEATS = 7
IMAGES = 32  # of the test set, encoded as one batch; scored a thousand times as many rows
ROWS = 1024


def run(setup: Setup) -> Outcome:
    """Time encoding and scoring separately, several times, and take the medians."""
    tuned = setup.retuner.detector(setup.synthetic(), setup.seeds[0])
    untuned = _untuned(setup, tuned)
    images = next(setup.encoded.test.require_images().batches())[:IMAGES]
    features = np.resize(setup.encoded.test.features, (ROWS, setup.encoded.test.features.shape[1]))
    encoder = setup.inputs.encoder
    timings = {
        "encode": _per_item(lambda: encoder.encode_images(images), len(images)),
        NEGLABEL.name: _per_item(lambda: untuned.score_features(features), ROWS),
        SYNOOD.name: _per_item(lambda: tuned.score_features(features), ROWS),
    }
    sizes = {NEGLABEL.name: 0, SYNOOD.name: _added(tuned)}
    backbone = parameter_count(encoder)
    details = {
        "encoder_parameters": backbone,
        "negatives": len(tuned.negative_prompts),
        "tuned_negatives": len(tuned.tuned_rows),
        "added_parameters": sizes,
        "milliseconds_an_image": {name: round(value, 4) for name, value in timings.items()},
        "device": setup.inputs.models.device,
    }
    return Outcome((), (), details=details, table=_table(backbone, sizes, timings))


def _untuned(setup: Setup, tuned: OODDetector) -> OODDetector:
    return replace(
        tuned,
        projection=None,
        negative_features=setup.retuner.negative_features(),
        tuned_rows=(),
    )


def _added(detector: OODDetector) -> int:
    """Count the parameters that NegLabel lacks: the projection; tuned negatives replace others."""
    if detector.projection is None:
        return 0
    tensors = detector.projection.to_tensors()
    return sum(tensor.size for name, tensor in tensors.items() if name != "eps")


def _per_item(work: Callable[[], object], items: int) -> float:
    """Return milliseconds per item: the median of several runs, after a warm-up."""
    work()
    seconds = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return 1000 * float(np.median(seconds)) / items


def _table(backbone: int, sizes: dict[str, int], timings: dict[str, float]) -> str:
    lines = [f"encoder: {backbone:,} parameters, {timings['encode']:.2f} ms an image"]
    for method in (NEGLABEL, SYNOOD):
        added = sizes[method.name]
        lines.append(
            f"{method.title}: {added:,} parameters added ({added / backbone:.2%} of the encoder), "
            f"score {timings[method.name]:.4f} ms an image"
        )
    return "\n".join(lines)


COST = Experiment(
    "cost",
    "Inference cost",
    "How many parameters and how much time does SynOOD add to NegLabel?",
    run,
)
