"""InterNeg: its choice of words, and at test time texts that mean images which seem OOD."""

from __future__ import annotations

from typing import TYPE_CHECKING

from synood import scores
from synood.benchmark.protocol.methods import IMAGES, NAMES, WORDS, Method
from synood.benchmark.protocol.system import FittedStream, StreamSystem
from synood.benchmark.systems._contexts import TOWER
from synood.benchmark.systems._growing import GROUPS, ChosenLabels, GrowingLabels
from synood.benchmark.systems._inversion import Inversion, Inverter, drawn_start, inverter_of
from synood.benchmark.systems.interneg import (
    class_proxies,
    fit_interneg_words,
    ranked_words,
    share_out,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from synood.benchmark.protocol.fit_inputs import FitInputs

INTERNEG = Method(
    "interneg",
    "InterNeg",
    "Xu et al., CVPR 2026, arXiv 2603.02618, after its code, with one template",
    "test-time",
    (TOWER, NAMES, WORDS, IMAGES, "the stream of test images"),
)
# the authors' oneoodprompt_postprocessor.py:269-324 and imagenet_four.sh
THRESHOLD = 0.35
INVERSION = Inversion(steps=10)
SHOTS_SEED = 0  # the images of each class are the same under every seed, which orders the stream


def fit_interneg(inputs: FitInputs, seed: int) -> FittedStream:
    """Choose the words as the inductive half does; the rest is as published."""
    from synood.models.contexts import context_encoder  # loads torch

    encoder = context_encoder(inputs.encoder)
    labels, _, chosen = choose_labels(inputs)
    inverter = inverter_of(
        inputs,
        INTERNEG.name,
        lambda: Inverter(encoder, INVERSION, drawn_start(encoder), labels.proxies),
    )
    scorer = GrowingLabels(labels, inverter, THRESHOLD, balanced=False)
    return FittedStream(scorer, chosen, labels.negatives.size + labels.proxies.size)


def choose_labels(
    inputs: FitInputs,
) -> tuple[ChosenLabels, NDArray[np.int64], Mapping[str, object]]:
    """Return the labels that are best on validation images, their rows, and the record."""
    chosen = dict(fit_interneg_words(inputs, SHOTS_SEED).chosen)
    proxies = class_proxies(inputs, SHOTS_SEED)
    classes = scores.normalise(inputs.class_features)
    words = inputs.words
    ranked = ranked_words(words.words, words.features, classes, proxies)
    rows = share_out(ranked, int(str(chosen["negatives"])))
    negatives = scores.normalise(words.features[rows])
    temperature = float(str(chosen["temperature"]))
    labels = ChosenLabels(classes, negatives, proxies, temperature)
    return labels, rows, {**chosen, "groups": GROUPS}


SYSTEMS = (StreamSystem(INTERNEG, fit_interneg),)
