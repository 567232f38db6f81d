"""CoOp: class names with learned context vectors, scored as MCM."""

from __future__ import annotations

from typing import TYPE_CHECKING

from synood.benchmark.protocol.baselines import MCM_TEMPERATURES
from synood.benchmark.protocol.methods import IMAGES, NAMES, Method
from synood.benchmark.protocol.system import Fitted, System
from synood.benchmark.systems._choosing import Option, best_of
from synood.benchmark.systems._contexts import TOWER, cross_entropy, mcm_of, tune_contexts
from synood.benchmark.systems._training import Losses, few_shots

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from synood.benchmark.protocol.fit_inputs import FitInputs

    Floats = NDArray[np.float32]

COOP = Method(
    "coop",
    "CoOp",
    "Zhou et al., IJCV 2022, arXiv 2109.01134, on features without crops, scored as MCM",
    "inductive",
    (TOWER, NAMES, IMAGES),
)


def fit_coop(inputs: FitInputs, seed: int) -> Fitted:
    """Learn the vectors; choose MCM's temperature on validation images."""
    losses = Losses()
    images, labels, _ = few_shots(inputs.train, seed)
    names, learned = tune_contexts(inputs, cross_entropy(inputs, images, labels), losses)
    options = [
        Option({"temperature": t, "loss": losses.to_json()}, mcm_of(names, t))
        for t in MCM_TEMPERATURES
    ]
    return best_of(inputs, options, learned)


SYSTEMS = (System(COOP, fit_coop, seeded=True),)
