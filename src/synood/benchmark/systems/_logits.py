"""What systems share that read nothing but a classifier's logits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from synood.benchmark.protocol.system import Fitted

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from synood.benchmark.protocol.fit_inputs import FitInputs
    from synood.benchmark.protocol.system import Fit


def fit_logits(score: Callable[[NDArray[np.float32]], NDArray[np.float32]]) -> Fit:
    """Return a fit that has nothing to fit: a score of the logits (N, C), as published."""

    def fit(inputs: FitInputs, seed: int) -> Fitted:
        return Fitted(lambda encoded: score(encoded.logits))

    return fit
