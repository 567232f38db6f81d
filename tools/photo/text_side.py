"""Learns the text side of `photo` from the classifier's rows and WordNet; no photograph is needed.

Three steps, all in closed form or seeded:

1. Every noun synset of animals, food, artifacts, objects and plants, and every hypernym of an
   ImageNet class, gets a row as the classifier would have it: kernel ridge regression from the
   1,000 classes, where two synsets are alike by WordNet's hierarchy, by their names and by their
   definitions (each a similarity s in exp(4 (s - 1)), the three added).
2. Every name of these synsets gets the mean of its senses' rows, the first sense counting most.
3. A sentence gets the mean of the rows of the names near it (softmax of the cosines). Names that
   ImageNet or an animal bears are kept one by one, the others as means of groups.

`tools.photo.validate` measures it by leaving classes out.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from synood.files import fingerprint, replacing
from synood.labels.imagenet import imagenet_classes
from synood.models.bundles import EMBEDDED
from synood.models.sentences import SentenceTower
from tools.photo.nouns import Nouns, is_common

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    Array = NDArray[np.float32]

log = logging.getLogger(__name__)
PROMPT = "a photo of a {}"
LEXNAMES = ("noun.animal", "noun.food", "noun.artifact", "noun.object", "noun.plant")
SHARPNESS = 25.0  # of the cosines between a sentence and the names
STEEPNESS, PENALTY = 4.0, 0.1  # of the similarities and of the ridge
GROUPS, RANK = 1500, 384
_OWN_NAME = 4.0  # how much more than a first sense an ImageNet class counts for its own name
_BLOCK = 2048


def sentence_tower() -> SentenceTower:
    """Return the sentence model that ships with the bundle `mini`."""
    return SentenceTower(EMBEDDED["mini"] / "encoder" / "text")


def unit(rows: Array) -> Array:
    """Scale rows to length one."""
    lengths = np.linalg.norm(rows, axis=-1, keepdims=True)
    scaled: Array = (rows / np.maximum(lengths, 1e-9)).astype(np.float32)
    return scaled


@dataclass(frozen=True, eq=False)
class Bank:
    """Names with their rows, as the encoder holds them.

    `anchors` (A, 384) are sentence features, `log_counts` (A,) say how many names each stands for,
    `rows` (A, 1280) are directions; the first 1,000 are ImageNet's classes.
    """

    anchors: Array
    log_counts: Array
    rows: Array

    def __call__(self, sentences: Array, sharpness: float = SHARPNESS) -> Array:
        """Map sentence features (N, 384) to rows (N, 1280)."""
        logits = sharpness * (sentences @ self.anchors.T) + self.log_counts
        near = np.exp(logits - logits.max(axis=1, keepdims=True))
        mixed: Array = (near / near.sum(axis=1, keepdims=True)) @ self.rows
        return mixed


class TextSide:
    """Synsets, names and their sentence features, from which rows are learnt.

    `weight` (1000, 1280) is the classifier's. Sentence features are kept in `work`.
    """

    def __init__(self, wordnet: Path, weight: Array, work: Path) -> None:
        self.nouns = Nouns.read(wordnet)
        self.classes = [known.wnid for known in imagenet_classes()]
        self.rows = (weight - weight.mean(axis=0)).astype(np.float64)
        self.work = work
        above = self.nouns.above(self.classes)
        listed = [
            name for lex in LEXNAMES
            for name, noun in self.nouns.synsets.items() if noun.lexname == lex
        ]  # fmt: skip
        self.synsets = list(dict.fromkeys([*self.classes, *above, *listed]))
        self.place = {name: row for row, name in enumerate(self.synsets)}
        own = [known.openai for known in imagenet_classes()]
        named = [word for name in (*self.classes, *above) for word in self._words(name)]
        common = [word for name in listed for word in self._words(name) if is_common(word)]
        self.names = list(dict.fromkeys([*own, *named, *common]))
        self.core = len(dict.fromkeys([*own, *named]))

    def _words(self, synset: str) -> tuple[str, ...]:
        return self.nouns.synsets[synset].words

    @cached_property
    def sentences(self) -> Array:
        """The names' sentence features (N, 384)."""
        return self._encoded("names", [PROMPT.replace("{}", name) for name in self.names])

    @cached_property
    def definitions(self) -> Array:
        """The sentence features (S, 384) of each synset's first word and definition."""
        nouns = [self.nouns.synsets[name] for name in self.synsets]
        return self._encoded("definitions", [f"{n.words[0]}: {n.definition}" for n in nouns])

    def _encoded(self, kind: str, texts: Sequence[str]) -> Array:
        """Encode texts, or read what an earlier call with the same texts left."""
        path = self.work / f"sentences-{kind}-{fingerprint(texts)}.npy"
        if not path.is_file():
            tower, blocks = sentence_tower(), []
            for start in range(0, len(texts), _BLOCK):
                blocks.append(tower.encode(texts[start : start + _BLOCK], 32).numpy())
                log.info("%s: %d of %d", kind, start + len(blocks[-1]), len(texts))
            with replacing(path) as part, part.open("wb") as file:
                np.save(file, np.concatenate(blocks))
        features: Array = np.load(path)
        return features

    @cached_property
    def senses(self) -> NDArray[np.object_]:
        """Of each name, its synsets with their weights, which add up to 1: (N,) of dicts."""
        own: dict[str, list[int]] = {}
        for row, known in enumerate(imagenet_classes()):
            own.setdefault(known.openai, []).append(row)
        bearers: dict[str, list[int]] = {}
        for row, synset in enumerate(self.synsets):
            for word in self._words(synset):
                bearers.setdefault(word, []).append(row)
        result = np.empty(len(self.names), object)
        for place, name in enumerate(self.names):
            listed = [s for s in self.nouns.senses.get(name.lower(), ()) if s in self.place]
            weights = {self.place[s]: 1 / (rank + 1) ** 2 for rank, s in enumerate(listed)}
            for row in own.get(name, ()):
                weights[row] = weights.get(row, 0) + _OWN_NAME / len(own[name])
            weights = weights or dict.fromkeys(bearers.get(name, ()), 1.0)
            total = sum(weights.values())
            result[place] = {row: weight / total for row, weight in weights.items()}
        return result

    def averaged(self, values: Array) -> Array:
        """Average values (S, ...) of the synsets over each name's senses: (N, ...)."""
        result = np.zeros((len(self.names), *values.shape[1:]), np.float32)
        for place, weights in enumerate(self.senses):
            for row, weight in weights.items():
                result[place] += np.float32(weight) * values[row]
        return result

    @cached_property
    def kernel(self) -> NDArray[np.float64]:
        """How alike the synsets are to ImageNet's classes: (S, 1000)."""
        named = np.zeros((len(self.synsets), self.sentences.shape[1]), np.float32)
        row_of = {name: row for row, name in enumerate(self.names)}
        own = [(row, known.openai) for row, known in enumerate(imagenet_classes())]
        pairs = own + [(r, w) for r, s in enumerate(self.synsets) for w in self._words(s)]
        for row, word in dict.fromkeys(pairs):
            if word in row_of:
                named[row] += self.sentences[row_of[word]]
        named, defined = unit(named), unit(self.definitions)
        count = len(self.classes)
        alike = (
            self.nouns.kinship(self.synsets, self.classes),
            named @ named[:count].T,
            defined @ defined[:count].T,
        )
        return sum(np.exp(STEEPNESS * (part.astype(np.float64) - 1)) for part in alike)  # type: ignore[return-value]

    def synset_rows(self, known: NDArray[np.bool_] | None = None) -> Array:
        """Return a row of unit length for each synset (S, 1280), learnt from `known` classes."""
        chosen = np.arange(len(self.classes)) if known is None else np.flatnonzero(known)
        kernel = self.kernel
        ridge = 3 * PENALTY * np.eye(len(chosen))
        solved = np.linalg.solve(kernel[np.ix_(chosen, chosen)] + ridge, self.rows[chosen])
        return unit((kernel[:, chosen] @ solved).astype(np.float32))

    def name_rows(self, known: NDArray[np.bool_] | None = None) -> Array:
        """Return a row for each name (N, 1280) of unit length."""
        return unit(self.averaged(self.synset_rows(known)))

    def bank(self, groups: int = GROUPS) -> Bank:
        """Return the names that are kept one by one, and means of groups of the others."""
        rows, kept = self.name_rows(), self._kept()
        classes = [self.names.index(known.openai) for known in imagenet_classes()]
        others = [place for place in np.flatnonzero(kept).tolist() if place not in set(classes)]
        rest = np.flatnonzero(~kept)
        principal = np.linalg.svd(rows[rest[::4]], full_matrices=False)[2][:48]
        labels = _grouped(
            np.concatenate([self.sentences[rest], 0.5 * rows[rest] @ principal.T], axis=1), groups
        )
        counts = np.bincount(labels, minlength=groups).astype(np.float32)
        filled = counts > 0
        means = [_sums(values[rest], labels, groups)[filled] / counts[filled, None]
                 for values in (self.sentences, rows)]  # fmt: skip
        own = unit(self.rows.astype(np.float32))
        return Bank(
            np.concatenate([self.sentences[[*classes, *others]], means[0]]),
            np.concatenate([np.zeros(len(classes) + len(others)), np.log(counts[filled])]).astype(
                np.float32
            ),
            np.concatenate([own, rows[others], means[1]]),
        )

    def _kept(self) -> NDArray[np.bool_]:
        """Mark names of ImageNet's synsets and their hypernyms, of animals and of plain food."""
        kinds = np.array([self.nouns.synsets[name].lexname for name in self.synsets])
        animal, food = (self.averaged((kinds == f"noun.{k}") + 0.0) for k in ("animal", "food"))
        words = np.array([name.count(" ") + 1 for name in self.names])
        kept: NDArray[np.bool_] = ((animal > 0.3) & (words <= 2)) | ((food > 0.5) & (words == 1))
        kept[: self.core] = True
        return kept


def _grouped(points: Array, groups: int, rounds: int = 6, seed: int = 0) -> NDArray[np.int64]:
    """Lloyd's k-means: the group of each point (N, D)."""
    centres = points[np.random.default_rng(seed).permutation(len(points))[:groups]].copy()
    labels = np.zeros(len(points), np.int64)
    for _ in range(rounds):
        half = 0.5 * np.square(centres).sum(axis=1)
        for start in range(0, len(points), _BLOCK):
            block = points[start : start + _BLOCK] @ centres.T - half
            labels[start : start + _BLOCK] = block.argmax(axis=1)
        counts = np.bincount(labels, minlength=groups)
        filled = counts > 0
        centres[filled] = _sums(points, labels, groups)[filled] / counts[filled, None]
    return labels


def _sums(values: Array, labels: NDArray[np.int64], groups: int) -> Array:
    sums = np.zeros((groups, values.shape[1]), np.float32)
    np.add.at(sums, labels, values)
    return sums
