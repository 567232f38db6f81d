"""Systems whose names of other things come from a describer instead of a list of words.

The papers ask a caption decoder (ZOC) and a large language model (EOE). Here the bundle's describer
takes their place: a tagger over its vocabulary, a multimodal model, or a file of its answers. So
these rows are in the papers' style; their figures are the describer's as much as the score's.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np

from synood import scores
from synood.benchmark.protocol.baselines import MCM_TEMPERATURES, TEMPERATURES
from synood.benchmark.protocol.methods import ENCODER, IMAGES, NAMES, Method
from synood.benchmark.protocol.system import Fitted, System
from synood.benchmark.systems._choosing import Option, best_of
from synood.errors import InputError
from synood.labels.wordnet import name_key

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
EOE = Method(
    "eoe",
    "EOE-style",
    "after Cao et al., ICML 2024, arXiv 2406.00806; names given, or by the describer",
    "inductive",
    (ENCODER, NAMES, "names of imagined outliers, or a describer and " + IMAGES),
)
GENERATED = 35  # names of each image: ZOC's cifar10_eval.py takes the decoder's 35 likeliest words
ENVISIONED = 500  # EOE's number of outlier names for far OOD, here of images that are described
WEIGHT = 0.25  # EOE's beta


def fit_zoc(inputs: FitInputs, seed: int) -> Fitted:
    """Choose the temperature on validation images, else the published 0.01 of CLIP's scale."""
    namer = _Namer(inputs)

    def scorer(temperature: float) -> Scorer:
        return lambda encoded: namer.class_share(encoded, temperature)

    options = [Option({"temperature": t, "describer": namer.id}, scorer(t)) for t in TEMPERATURES]
    return best_of(inputs, options)


def fit_eoe(inputs: FitInputs, seed: int) -> Fitted:
    """Take the outlier names given, else describe training images; choose the temperature."""
    names = _unknown(inputs.outlier_names or _described(inputs), inputs.class_names)
    if not names:
        raise InputError(
            "EOE: no name of an outlier is left beside the class names; give others, or another "
            "describer"
        )
    outliers, classes = inputs.name_features(names), inputs.class_features

    def scorer(temperature: float) -> Scorer:
        def score(encoded: EncodedSet) -> NDArray[np.float32]:
            known = scores.cosine_similarity(encoded.features, classes)
            unknown = scores.cosine_similarity(encoded.features, outliers)
            return scores.eoe(known, unknown, temperature, WEIGHT)

        return score

    source = "given" if inputs.outlier_names else inputs.models.describer.id
    options = [
        Option(
            {"temperature": t, "weight": WEIGHT, "names": len(names), "source": source}, scorer(t)
        )
        for t in MCM_TEMPERATURES
    ]
    return best_of(inputs, options, outliers.size)


class _Namer:
    """Names what else may be in each picture, and holds the class names against these."""

    def __init__(self, inputs: FitInputs) -> None:
        self._material = inputs
        self._describer = many_names(inputs)
        self.id = self._describer.id
        self._seen: WeakKeyDictionary[EncodedSet, list[tuple[str, ...]]] = WeakKeyDictionary()

    def class_share(self, encoded: EncodedSet, temperature: float) -> NDArray[np.float32]:
        """Share of the class names in a softmax with the names generated for each picture."""
        similar = scores.cosine_similarity(encoded.features, self._material.class_features)
        if encoded not in self._seen:
            self._seen[encoded] = self._names(encoded, similar)
        others = self._similarity(encoded.features, self._seen[encoded])
        return scores.neglabel(similar, others, temperature, groups=None)

    def _names(self, encoded: EncodedSet, similar: NDArray[np.float32]) -> list[tuple[str, ...]]:
        """Describe each picture as if it were of the class that it is most like."""
        classes = self._material.class_names
        likeliest = [classes[row] for row in similar.argmax(axis=1)]
        texts = _texts(self._describer, encoded, likeliest)
        return [_unknown(_split(text), classes) for text in texts]

    def _similarity(
        self, features: NDArray[np.float32], own: Sequence[tuple[str, ...]]
    ) -> NDArray[np.float32]:
        """Cosines (N, M) with each picture's own names, -inf where it has fewer than others."""
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


def _described(inputs: FitInputs) -> tuple[str, ...]:
    """Names that describe training images, evenly spaced ones where there are many."""
    train = inputs.train
    if train.labels is None:
        raise InputError(f"set {train.name!r}: has no class labels to describe it by")
    count = min(len(train), ENVISIONED)
    rows = np.arange(count) * len(train) // count
    labels = [inputs.class_names[row] for row in train.labels[rows]]
    texts = _texts(inputs.models.describer, train.take(rows), labels)
    return tuple(sorted({name for text in texts for name in _split(text)}))


def _texts(describer: Describer, encoded: EncodedSet, class_names: Sequence[str]) -> list[str]:
    """Describe each picture of a set; a tagger needs but the features that are there already."""
    from synood.models.describer import Tagger  # loads torch

    if isinstance(describer, Tagger):
        return describer.describe_features(encoded.features, class_names)
    pictures, texts = encoded.seen(), list[str]()
    ids = [record.id for record in pictures.records]
    for images in pictures.images():
        part = slice(len(texts), len(texts) + len(images))
        texts += describer.describe(images, class_names[part], ids[part])
    return texts


def _split(text: str) -> tuple[str, ...]:
    """Return the names in a describer's answer, which commas or lines part."""
    parts = (" ".join(part.split()).strip(" .") for part in re.split(r"[,;\n]", text))
    return tuple(dict.fromkeys(part for part in parts if part))


def _unknown(names: Sequence[str], class_names: Sequence[str]) -> tuple[str, ...]:
    """Leave out what is a class name in any case and spacing."""
    taken = {name_key(name) for name in class_names}
    return tuple(name for name in names if name_key(name) not in taken)


SYSTEMS = (System(ZOC, fit_zoc), System(EOE, fit_eoe))
