"""Settings chosen on validation images: what was published first, then what else may fit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from synood import metrics
from synood.benchmark.protocol.system import Fitted, Scorer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from synood.benchmark.protocol.fit_inputs import FitInputs


@dataclass(frozen=True, eq=False)
class Option:
    """One way to set a system up: JSON settings and the scorer they give."""

    settings: Mapping[str, object]
    score: Scorer


def best_of(inputs: FitInputs, options: Sequence[Option], added_parameters: int = 0) -> Fitted:
    """Take the option of the best mean AUROC over the validation OOD sets; of equals the first.

    The first option is the published one. Without validation OOD sets it is taken unseen.
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


def _mean_auroc(score: Scorer, inputs: FitInputs) -> float:
    inside = score(inputs.validation)
    return float(np.mean([metrics.auroc(inside, score(ood)) for ood in inputs.validation_ood]))
