"""Settings chosen on validation images among the published one and others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from synood import metrics
from synood.benchmark.protocol.system import Fitted, FittedStream, Scorer, stream_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from synood.benchmark.protocol.fit_inputs import FitInputs
    from synood.benchmark.protocol.system import StreamScorer


@dataclass(frozen=True, eq=False)
class Option:
    """One setting of a system, as JSON values, and its scorer."""

    settings: Mapping[str, object]
    score: Scorer


def best_of(inputs: FitInputs, options: Sequence[Option], added_parameters: int = 0) -> Fitted:
    """Return the option with the best mean AUROC over the validation OOD sets, the first of equals.

    The first option is the published one; without validation OOD sets it is the one returned.
    """
    if not inputs.validation_ood or len(options) == 1:
        only = options[0]
        return Fitted(only.score, dict(only.settings), added_parameters)
    found = [_mean_auroc(option.score, inputs) for option in options]
    best = int(np.argmax(found))
    tried = [
        {**option.settings, "auroc": auroc} for option, auroc in zip(options, found, strict=True)
    ]
    chosen = {**options[best].settings, "auroc": found[best], "tried": tried}
    return Fitted(options[best].score, chosen, added_parameters)


@dataclass(frozen=True, eq=False)
class StreamOption:
    """One setting of a test-time system, as JSON values, and its scorer."""

    settings: Mapping[str, object]
    scorer: StreamScorer


def best_stream_of(
    inputs: FitInputs, options: Sequence[StreamOption], seed: int, added_parameters: int = 0
) -> FittedStream:
    """Return the option with the best mean AUROC over streams of validation images.

    Each stream has the in-distribution images and one OOD set. The first option is the published
    one; without validation OOD sets it is the one returned.
    """
    if not inputs.validation_ood or len(options) == 1:
        only = options[0]
        return FittedStream(only.scorer, dict(only.settings), added_parameters)
    streams = [stream_of(inputs.validation, ood, seed) for ood in inputs.validation_ood]
    tried, found = [], []
    for option in options:
        scored = [
            stream.split(option.scorer.score_stream(stream.images, stream.order))
            for stream in streams
        ]
        found.append(float(np.mean([metrics.auroc(*sides) for sides in scored])))
        tried.append({**option.settings, "auroc": found[-1]})
    best = options[int(np.argmax(found))]
    chosen = {**best.settings, "auroc": max(found), "tried": tried}
    return FittedStream(best.scorer, chosen, added_parameters)


def _mean_auroc(score: Scorer, inputs: FitInputs) -> float:
    inside = score(inputs.validation)
    return float(np.mean([metrics.auroc(inside, score(ood)) for ood in inputs.validation_ood]))
