"""GL-MCM: the class names compared with the whole image and with its local features."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np

from synood import scores
from synood.benchmark.protocol.baselines import MCM_TEMPERATURES
from synood.benchmark.protocol.methods import ENCODER, NAMES, Method
from synood.benchmark.protocol.system import Fitted, System
from synood.benchmark.systems._choosing import Option, best_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from synood.benchmark.protocol.encoding import EncodedSet
    from synood.benchmark.protocol.fit_inputs import FitInputs
    from synood.benchmark.protocol.system import Scorer

GL_MCM = Method(
    "gl-mcm",
    "GL-MCM",
    "Miyai et al., IJCV 2025, arXiv 2304.04521",
    "inductive",
    (f"{ENCODER} with features of single places", NAMES),
)


def fit_gl_mcm(inputs: FitInputs, seed: int) -> Fitted:
    """Choose the temperature on validation images, else keep the published 1."""
    matching = Matching(inputs.class_features)
    options = [
        Option({"temperature": t, "local_weight": 1.0}, matching.scorer(place))
        for place, t in enumerate(MCM_TEMPERATURES)
    ]
    return best_of(inputs, options)


class Matching:
    """Scores of a set at every temperature; its local features are computed once."""

    def __init__(self, class_features: NDArray[np.float32]) -> None:
        self._classes = class_features
        self._seen: WeakKeyDictionary[EncodedSet, NDArray[np.float32]] = WeakKeyDictionary()

    def scorer(self, place: int) -> Scorer:
        """Return the scorer at one of `MCM_TEMPERATURES`."""
        return lambda encoded: self._scores(encoded)[:, place]

    def _scores(self, encoded: EncodedSet) -> NDArray[np.float32]:
        if encoded not in self._seen:
            whole = scores.cosine_similarity(encoded.features, self._classes)
            parts, start = [], 0
            for patches in encoded.patches():
                rows = whole[start : start + len(patches)]
                parts.append(self._block(rows, patches))
                start += len(patches)
            self._seen[encoded] = np.concatenate(parts)
        return self._seen[encoded]

    def _block(
        self, whole: NDArray[np.float32], patches: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        places = scores.cosine_similarity(patches.reshape(-1, patches.shape[2]), self._classes)
        places = places.reshape(*patches.shape[:2], -1)
        return np.stack([scores.gl_mcm(whole, places, t) for t in MCM_TEMPERATURES], axis=1)


SYSTEMS = (System(GL_MCM, fit_gl_mcm),)
