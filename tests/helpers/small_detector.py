"""A detector of two colours, made without a bundle, and changes of its files on disk."""

from __future__ import annotations

import dataclasses
import json

import numpy as np

from colours import ColourEncoder
from synood import OODDetector
from synood.detector.backbone import Backbone
from synood.settings import ScoreSettings


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
