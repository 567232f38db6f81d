"""InterNeg: negative labels farther from the classes' images than the class names are.

The inductive half: words are chosen by images instead of class names, since what an image is
compared with at test time are images and texts, not texts and texts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from synood import scores
from synood.benchmark.protocol.baselines import TEMPERATURES, neglabel_scorer
from synood.benchmark.protocol.methods import ENCODER, IMAGES, NAMES, WORDS, Method
from synood.benchmark.protocol.system import Fitted, System
from synood.benchmark.systems._choosing import Option, best_of
from synood.benchmark.systems._mining import nothing_kept
from synood.benchmark.systems._training import few_shots
from synood.errors import InputError
from synood.settings import ScoreSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from synood.benchmark.protocol.fit_inputs import FitInputs
    from synood.labels.wordnet import Word

    Floats = NDArray[np.float32]

INTERNEG_WORDS = Method(
    "interneg-words",
    "InterNeg (words)",
    "Xu et al., CVPR 2026, arXiv 2603.02618: the choice of words alone, nothing learned at test",
    "inductive",
    (ENCODER, NAMES, WORDS, IMAGES),
)
# the authors' scripts/ood/interneg/imagenet_four.sh
KEPT = (2_000, 500, 1_000, 5_000, 10_000)
GROUPS = 5


def fit_interneg_words(inputs: FitInputs, seed: int) -> Fitted:
    """Rank the words by 16 images a class; choose how many, and the temperature."""
    words, classes = inputs.words, inputs.class_features
    proxies = class_proxies(inputs, seed)
    ranked = ranked_words(words.words, words.features, classes, proxies)
    if not any(len(part) for part in ranked):
        raise InputError(nothing_kept("InterNeg"))
    options, sizes = [], set[int]()
    for count in KEPT:
        rows = share_out(ranked, count)
        negatives = words.features[rows]
        if negatives.size in sizes:
            continue
        sizes.add(negatives.size)
        for temperature in TEMPERATURES:
            settings = ScoreSettings(temperature=temperature, groups=GROUPS)
            options.append(
                Option(
                    {"negatives": len(rows), "temperature": temperature, "groups": GROUPS},
                    neglabel_scorer(classes, negatives, settings),
                )
            )
    return best_of(inputs, options, max(sizes))


def class_proxies(inputs: FitInputs, seed: int) -> Floats:
    """Mean feature of up to 16 training images of each class, of unit length: (C, D).

    A class without images is an `InputError`.
    """
    images, labels, _ = few_shots(inputs.train, seed)
    present = np.unique(labels)
    if len(present) < len(inputs.class_names):
        lacking = set(range(len(inputs.class_names))) - set(present.tolist())
        raise InputError(
            f"set {inputs.train.name!r}: class {inputs.class_names[min(lacking)]!r} has no image"
        )
    return scores.normalise(np.stack([images[labels == label].mean(0) for label in present]))


def ranked_words(
    words: Sequence[Word], features: Floats, classes: Floats, proxies: Floats
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the rows of nouns and of adjectives that are kept, best first.

    A word y is kept if cos(y, p_i) < cos(e_i, p_i) for each class's name e_i and images p_i, and
    ranked by the mean of the differences (clip_fixed_ood_prompt.py:572-592).
    """
    own = np.einsum("cd,cd->c", scores.normalise(classes), proxies)
    behind = own - scores.normalise(features) @ proxies.T
    value = np.where((behind > 0).all(axis=1), behind.mean(axis=1), -np.inf)
    nouns = np.array([word.pos == "noun" for word in words], dtype=bool)
    parts = []
    for kind in (nouns, ~nouns):
        rows = np.flatnonzero(kind & np.isfinite(value))
        parts.append(rows[np.argsort(-value[rows], kind="stable")])
    return parts[0], parts[1]


def share_out(ranked: tuple[NDArray[np.int64], NDArray[np.int64]], count: int) -> NDArray[np.int64]:
    """Take the best `count` words, nouns and adjectives by their part of all that are kept."""
    nouns, adjectives = ranked
    every = len(nouns) + len(adjectives)
    of_adjectives = count * len(adjectives) // every
    return np.concatenate([nouns[: count - of_adjectives], adjectives[:of_adjectives]])


SYSTEMS = (System(INTERNEG_WORDS, fit_interneg_words, seeded=True),)
