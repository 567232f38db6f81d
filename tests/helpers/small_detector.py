"""Detectors of two colours, with and without a bundle, and changes of their files on disk."""

from __future__ import annotations

import dataclasses
import json

import numpy as np

from colours import COLOURS, ColourEncoder
from synood import OODDetector
from synood.detector.backbone import Backbone
from synood.files import sha256_file
from synood.labels.wordnet import Word
from synood.models.bundles import Bundle
from synood.settings import ScoreSettings

COLOUR_CLASSES, COLOUR_NEGATIVES = ("red", "green"), ("blue", "yellow", "magenta", "cyan")
HASHED = ("README.md", "model.safetensors", "negatives.txt")


class ColourBundle(Bundle):
    """A bundle whose encoder is the colours' and whose words are given."""

    candidates = tuple(Word(text, "noun", "") for text in [*COLOURS, "mud", "rope", "tin"])

    def encoder(self, device="cpu"):
        return ColourEncoder()

    def words(self):
        return self.candidates


COLOUR_BUNDLE = ColourBundle(
    "colours", None, {"encoder": {"type": "clip", "id": "colours"}, "prompts": "photo"}
)


def colour_detector(classes=COLOUR_CLASSES, negatives=COLOUR_NEGATIVES, **options):
    return OODDetector.from_classes(classes, COLOUR_BUNDLE, negatives=negatives, **options)


def unit(texts):
    features = ColourEncoder().encode_texts(texts)
    return features / np.linalg.norm(features, axis=1, keepdims=True)


def make_detector(**options):
    negatives = ("the nice blue", "the nice yellow", "This is a cyan photo")
    made = OODDetector(
        encoder=Backbone("colours", ColourEncoder.fingerprint, encoder=ColourEncoder()),
        class_names=("red", "grün"),
        prompt_set="neglabel",
        class_features=unit(["red", "green"]),
        negative_prompts=negatives,
        negative_features=unit(negatives),
        settings=ScoreSettings(temperature=0.5, groups=2, seed=7),
        tuned_rows=(0, 2),
        recipe="paper",
        notes=("A linear probe took the classifier's place.",),
    )
    return dataclasses.replace(made, **options)


def change_config(directory, **changes):
    config = json.loads((directory / "config.json").read_text())
    config.update(changes)
    (directory / "config.json").write_text(json.dumps(config))


def rehash(directory):
    """What a careful forger does: alter a file and its hash."""
    change_config(directory, files={name: sha256_file(directory / name) for name in HASHED})
