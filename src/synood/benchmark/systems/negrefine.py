"""NegRefine: negative labels without kinds of a class, and texts that name a class and a negative.

The authors ask a language model whether a label is a proper noun or a kind of one of the ten
nearest class names, and drop it if so. For ImageNet's classes the labels that it left are here;
for others WordNet answers, for the words that it knows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np

from synood import scores
from synood.benchmark.protocol.baselines import TEMPERATURES
from synood.benchmark.protocol.methods import ENCODER, NAMES, WORDS, Method
from synood.benchmark.protocol.system import Fitted, System
from synood.benchmark.systems._choosing import Option, best_of
from synood.benchmark.systems._mining import mine, nothing_kept
from synood.errors import InputError
from synood.labels.forms import same_name
from synood.labels.hypernyms import shipped_hypernyms
from synood.labels.imagenet import class_names_by_wnid, same_classes
from synood.labels.lists import read_labels
from synood.labels.negatives import listed_labels
from synood.labels.prompts import find_prompt_set, without_wnid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from synood.benchmark.protocol.encoding import EncodedSet
    from synood.benchmark.protocol.fit_inputs import FitInputs
    from synood.benchmark.protocol.system import Scorer
    from synood.labels.wordnet import Word

    Floats = NDArray[np.float32]

NEGREFINE = Method(
    "negrefine",
    "NegRefine",
    "Ansari et al., ICCV 2025, arXiv 2507.09795; ImageNet's classes have the released labels, for "
    "others WordNet stands in for the filter's language model",
    "inductive",
    (ENCODER, NAMES, WORDS),
)
# the authors' create_negs.py:12-104 and clip_ood.py:59-63
QUANTILE, MAX_SIMILARITY = 1.0, 0.95
NEAREST = 10  # class names that a label is compared with: neg_filter.py:44
RELEASED = "negrefine-imagenet"
TOP = 5  # likeliest classes and negatives of an image
GROUPS = 100


def fit_negrefine(inputs: FitInputs, seed: int) -> Fitted:
    """Take the labels that are released for ImageNet, or mine and filter them for other classes.

    All texts have the recipe's prompts: the authors' eight templates are those of the prompt set
    "csp". The temperature is chosen on validation images.
    """
    if same_classes(inputs.class_names, class_names_by_wnid().values()):
        return _with_released(inputs)
    return _with_mined(inputs)


def _with_released(inputs: FitInputs) -> Fitted:
    prompts = find_prompt_set(inputs.recipe.mining.prompt_set)
    released = listed_labels(read_labels(RELEASED).words, prompts, inputs.store.texts)
    labels = [word.text for word in released.words]
    pairs = Pairs(inputs, inputs.class_features, released.features, labels)
    record = {"negatives": len(labels), "labels": RELEASED}
    options = [Option({**record, "temperature": t}, pairs.scorer(t)) for t in TEMPERATURES]
    return best_of(inputs, options, released.features.size)


def _with_mined(inputs: FitInputs) -> Fitted:
    """Mine from CSP's pool by the closest class and filter.

    The fraction and the temperature are chosen as NegLabel's, before the filter.
    """
    settings = inputs.recipe.mining
    mining = replace(settings, pool="csp", quantile=QUANTILE, max_similarity=MAX_SIMILARITY)
    words = inputs.candidates(mining)
    mined = mine(inputs, mining)
    rows, dropped = refined(
        mined.rows, words.words, words.features, inputs.class_names, mined.classes
    )
    if not len(rows):
        raise InputError(nothing_kept("NegRefine"))
    labels = tuple(words.words[row].text for row in rows)
    pairs = Pairs(inputs, mined.classes, words.features[rows], labels)
    chosen = {**mined.chosen, "negatives": len(rows), "dropped": dropped}
    return Fitted(pairs.scorer(mined.score.temperature), chosen, words.features[rows].size)


def refined(
    kept: NDArray[np.int64],
    words: Sequence[Word],
    features: Floats,
    class_names: Sequence[str],
    class_features: Floats,
) -> tuple[NDArray[np.int64], int]:
    """Drop rows of the candidates (W, D) whose word is proper or a kind of a near class.

    Returns the rows left and how many were dropped. An adjective is judged by itself, without the
    noun that the pool puts behind it, and so never is a kind of anything.
    """
    if not len(kept):
        return kept, 0
    cosines = scores.cosine_similarity(features[kept], class_features)
    nearest = np.argsort(-cosines, axis=1, kind="stable")[:, :NEAREST]
    left = [
        row
        for row, near in zip(kept, nearest, strict=True)
        if words[row].pos != "noun"
        or not _belongs(words[row].text, [class_names[number] for number in near])
    ]
    return np.array(left, dtype=np.int64), len(kept) - len(left)


def _belongs(word: str, names: Sequence[str]) -> bool:
    """Whether a word is proper, or a form or a kind of one of the names."""
    relations = shipped_hypernyms()
    return relations.is_proper(word) or any(
        same_name(word, name) or relations.is_kind_of(word, name) for name in names
    )


@dataclass(frozen=True, eq=False)
class _Alike:
    """Cosines of a set's images: with the pairs (N, P, K), and with the negatives (N, K)."""

    pairs: Floats
    negatives: Floats


class Pairs:
    """The texts "p and n" of each image's likeliest classes and negatives, encoded once a set."""

    def __init__(
        self, inputs: FitInputs, classes: Floats, negatives: Floats, labels: Sequence[str]
    ) -> None:
        self._inputs = inputs
        self._classes, self._negatives = classes, negatives
        self._names = [without_wnid(name) for name in inputs.class_names]
        self._labels = labels
        self._seen: WeakKeyDictionary[EncodedSet, _Alike] = WeakKeyDictionary()

    def scorer(self, temperature: float) -> Scorer:
        """Return NegRefine's score at one temperature, which both parts share."""
        seed = self._inputs.recipe.score.seed
        neglabel = scores.NegLabelScorer.from_features(
            self._classes, self._negatives, temperature, GROUPS, seed
        )

        def score(encoded: EncodedSet) -> Floats:
            alike = self._alike(encoded)
            odds = neglabel.log_odds(encoded.features)
            return scores.negrefine(odds, alike.pairs, alike.negatives, temperature)

        return score

    def _alike(self, encoded: EncodedSet) -> _Alike:
        if encoded not in self._seen:
            self._seen[encoded] = self._compare(scores.normalise(encoded.features))
        return self._seen[encoded]

    def _compare(self, images: Floats) -> _Alike:
        classes, _ = _largest(images @ scores.normalise(self._classes).T)
        negatives, cosines = _largest(images @ scores.normalise(self._negatives).T)
        wanted = np.stack(np.broadcast_arrays(classes[:, :, None], negatives[:, None, :]), axis=3)
        flat = wanted.reshape(-1, 2)
        distinct, place = np.unique(flat, axis=0, return_inverse=True)
        texts = [f"{self._names[p]} and {self._labels[n]}" for p, n in distinct]
        features = scores.normalise(self._encode(texts))
        place = place.reshape(wanted.shape[:3])
        pairs = np.empty(place.shape, np.float32)
        for row, image in enumerate(images):
            pairs[row] = features[place[row]] @ image
        return _Alike(pairs, cosines)

    def _encode(self, texts: Sequence[str]) -> Floats:
        prompts = find_prompt_set(self._inputs.recipe.mining.prompt_set)
        return self._inputs.store.texts(prompts.class_prompts(texts))


def _largest(cosines: Floats) -> tuple[NDArray[np.int64], Floats]:
    """Return the columns of each row's `TOP` largest values, largest first, and the values."""
    order = np.argsort(-cosines, axis=1, kind="stable")[:, :TOP]
    return order, np.take_along_axis(cosines, order, axis=1)


SYSTEMS = (System(NEGREFINE, fit_negrefine),)
