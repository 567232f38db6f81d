"""The energy of logits whose penultimate features or weights were changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from synood import scores

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from synood.benchmark.protocol.encoding import EncodedSet
    from synood.benchmark.protocol.system import Scorer

    Shape = Callable[..., NDArray[Any]]  # (N, P) features -> (N, P) features


def shaped_energy(
    shape: Shape,
    weight: NDArray[np.float32],
    bias: NDArray[np.float32],
) -> Scorer:
    """Return the energy of the head (C, P), (C,) on penultimate features changed by `shape`."""

    def score(encoded: EncodedSet) -> NDArray[np.float32]:
        return scores.energy(scores.linear(shape(encoded.penultimate), weight, bias))

    return score
