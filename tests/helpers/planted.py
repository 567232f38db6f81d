"""Features planted around directions that names point to, and the material that holds them."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import torch

from synood.benchmark.protocol.encoding import EncodedSet
from synood.benchmark.protocol.fit_inputs import CandidateWords, FitInputs
from synood.labels.wordnet import Word
from synood.models.describer import Tagger
from synood.settings import MiningSettings, Recipe, ScoreSettings

DIM = 12
CLASSES = ("ant", "bee", "cat")
OTHERS = ("kiln", "lamp", "moor", "nave", "oven", "pier")  # names of what is elsewhere


def direction(name):
    """Each name has an axis of its own; those beyond the classes' lie among the rest."""
    names = (*CLASSES, *OTHERS)
    return np.eye(DIM, dtype=np.float32)[names.index(name)]


def around(names, each, seed, spread=0.12):
    """(len(names) * each, D) features around the names' directions, of length about 2."""
    rng = np.random.default_rng(seed)
    rows = np.repeat([direction(name) for name in names], each, axis=0)
    return (2 * (rows + spread * rng.normal(size=rows.shape))).astype(np.float32)


def encoded(name, group, names, each, seed, **more):
    features = around(names, each, seed)
    labels = np.repeat(np.arange(len(names)), each) if group == "id" else None
    return Placed(name, group, features, features[:, : len(CLASSES)].copy(), labels, **more)


class Placed(EncodedSet):
    """Of two places in an image one is like the whole, the other is elsewhere: three axes on."""

    def patches(self):
        yield np.stack([self.features, np.roll(self.features, 3, axis=1)], axis=1)


class PlantedEncoder:
    """A text is its name's direction, and what vectors before it add up to.

    Without a name it is the last of the vectors: each name has its direction as its vector.
    """

    name, fingerprint, logit_scale, dim, image_size = "planted", "0", 10.0, DIM, 8

    def encode_images(self, images, batch_size=64):
        """An image is like no name in particular."""
        means = np.stack([np.asarray(image).mean((0, 1)) for image in images]) / 255
        return np.concatenate([np.tile(means, 3), np.ones((len(means), 3))], 1).astype("f4")

    def token_embeddings(self, text):
        generator = torch.Generator().manual_seed(len(text))
        rows = 0.3 * torch.randn(len(text.split()), DIM, generator=generator)
        for place, word in enumerate(text.split()):
            if word in (*CLASSES, *OTHERS):
                rows[place] = torch.from_numpy(direction(word))
        return rows

    def encode_texts(self, texts, batch_size=256):
        return np.stack([direction(text.split()[-1]) for text in texts])

    def encode_with_context(self, texts, contexts):
        if set(texts) == {"."}:
            return contexts[:, -1]
        names = torch.from_numpy(np.stack([direction(text.strip(".")) for text in texts]))
        return names + contexts.sum(0)


class Store:
    """Texts mean the name they end with; kept by nobody."""

    def texts(self, prompts, progress=None):
        named = [[direction(text.split()[-1].strip(".")) for text in own] for own in prompts]
        return np.array([np.mean(own, axis=0) for own in named], np.float32)


def planted_inputs(**changes):
    """Three classes of twenty images, six other names, one validation OOD set of two of them."""
    words = CandidateWords(
        tuple(Word(name, "noun", "") for name in OTHERS), np.eye(DIM)[3:9].astype("f4")
    )
    encoder = PlantedEncoder()
    given = {
        "class_names": CLASSES,
        "train": encoded("train", "id", CLASSES, 20, 1),
        "validation": encoded("validation", "id", CLASSES, 6, 2),
        "validation_ood": (encoded("v-far", "far", OTHERS[:2], 9, 3),),
        "recipe": Recipe(
            "paper",
            mining=MiningSettings(share=1.0, quantile=0.95, prompt_set="photo"),
            score=ScoreSettings(temperature=0.1, groups=1),
        ),
        "models": SimpleNamespace(
            encoder=encoder, describer=Tagger(encoder, OTHERS, 1, exclude=0.0)
        ),
        "classifier": None,
        "store": Store(),
        "load_words": lambda mining: words,
    }
    return FitInputs(**{**given, **changes})
