"""EOE-style: imagined names of outliers, against the class names."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from synood import scores
from synood.benchmark.protocol.baselines import MCM_TEMPERATURES
from synood.benchmark.protocol.methods import ENCODER, IMAGES, NAMES, Method
from synood.benchmark.protocol.system import Fitted, System
from synood.benchmark.systems._choosing import Option, best_of
from synood.benchmark.systems._described import describe_set, other_names, split_names
from synood.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from synood.benchmark.protocol.encoding import EncodedSet
    from synood.benchmark.protocol.fit_inputs import FitInputs
    from synood.benchmark.protocol.system import Scorer

EOE = Method(
    "eoe",
    "EOE-style",
    "after Cao et al., ICML 2024, arXiv 2406.00806; names given, or by the describer",
    "inductive",
    (ENCODER, NAMES, "names of imagined outliers, or a describer and " + IMAGES),
)
ENVISIONED = 500  # EOE's number of outlier names for far OOD, here of images that are described
WEIGHT = 0.25  # EOE's beta


def fit_eoe(inputs: FitInputs, seed: int) -> Fitted:
    """Take the outlier names given, else describe training images; choose the temperature."""
    names = other_names(
        inputs.outlier_names or names_of_training_images(inputs), inputs.class_names
    )
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


def names_of_training_images(inputs: FitInputs) -> tuple[str, ...]:
    """Names that describe training images, evenly spaced ones where there are many."""
    train = inputs.train
    if train.labels is None:
        raise InputError(f"set {train.name!r}: has no class labels to describe it by")
    count = min(len(train), ENVISIONED)
    rows = np.arange(count) * len(train) // count
    labels = [inputs.class_names[row] for row in train.labels[rows]]
    texts = describe_set(inputs.models.describer, train.take(rows), labels)
    return tuple(sorted({name for text in texts for name in split_names(text)}))


SYSTEMS = (System(EOE, fit_eoe),)
