"""ZOC-style: the names that a describer sees in each image, against the class names."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np

from synood import scores
from synood.benchmark.protocol.baselines import TEMPERATURES
from synood.benchmark.protocol.methods import ENCODER, NAMES, Method
from synood.benchmark.protocol.system import Fitted, System
from synood.benchmark.systems._choosing import Option, best_of
from synood.benchmark.systems._described import describe_set, other_names, split_names

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from synood.benchmark.protocol.encoding import EncodedSet
    from synood.benchmark.protocol.fit_inputs import FitInputs
    from synood.benchmark.protocol.system import Scorer
    from synood.models.describer import Describer

ZOC = Method(
    "zoc",
    "ZOC-style",
    "after Esmaeilpour et al., AAAI 2022, arXiv 2109.02748; names by the describer",
    "inductive",
    (ENCODER, NAMES, "a describer that looks at each test image"),
)
GENERATED = 35  # names of each image: ZOC's cifar10_eval.py takes the decoder's 35 likeliest words


def fit_zoc(inputs: FitInputs, seed: int) -> Fitted:
    """Choose the temperature on validation images, else the published 0.01 of CLIP's scale."""
    namer = _Namer(inputs)

    def scorer(temperature: float) -> Scorer:
        return lambda encoded: namer.class_log_odds(encoded, temperature)

    options = [Option({"temperature": t, "describer": namer.id}, scorer(t)) for t in TEMPERATURES]
    return best_of(inputs, options)


class _Namer:
    """Names what else may be in each image, and compares the class names with these."""

    def __init__(self, inputs: FitInputs) -> None:
        self._material = inputs
        self._describer = many_names(inputs)
        self.id = self._describer.id
        self._seen: WeakKeyDictionary[EncodedSet, list[tuple[str, ...]]] = WeakKeyDictionary()

    def class_log_odds(self, encoded: EncodedSet, temperature: float) -> NDArray[np.float32]:
        """Log odds of the class names' share of a softmax with the names generated for an image.

        Infinite for an image without any other name.
        """
        similar = scores.cosine_similarity(encoded.features, self._material.class_features)
        if encoded not in self._seen:
            self._seen[encoded] = self._names(encoded, similar)
        others = self._similarity(encoded.features, self._seen[encoded])
        return scores.neglabel_log_odds(similar, others, temperature, groups=None)

    def _names(self, encoded: EncodedSet, similar: NDArray[np.float32]) -> list[tuple[str, ...]]:
        """Describe each image as one of its most similar class."""
        classes = self._material.class_names
        likeliest = [classes[row] for row in similar.argmax(axis=1)]
        texts = describe_set(self._describer, encoded, likeliest)
        return [other_names(split_names(text), classes) for text in texts]

    def _similarity(
        self, features: NDArray[np.float32], own: Sequence[tuple[str, ...]]
    ) -> NDArray[np.float32]:
        """Cosines (N, M) with each image's own names, -inf where it has fewer than others."""
        distinct = sorted({name for names in own for name in names})
        padded = np.full((len(own), max(map(len, own), default=0) or 1), -np.inf, np.float32)
        if distinct:
            place = {name: row for row, name in enumerate(distinct)}
            named = self._material.name_features(distinct)
            for row, (image, names) in enumerate(zip(scores.normalise(features), own, strict=True)):
                padded[row, : len(names)] = named[[place[name] for name in names]] @ image
        return padded


def many_names(inputs: FitInputs) -> Describer:
    """Return the bundle's describer; a tagger gives as many words as ZOC's decoder."""
    from synood.models.describer import Tagger  # loads torch

    describer = inputs.models.describer
    if isinstance(describer, Tagger):
        return Tagger(inputs.encoder, describer.vocabulary, tags=GENERATED)
    return describer


SYSTEMS = (System(ZOC, fit_zoc),)
