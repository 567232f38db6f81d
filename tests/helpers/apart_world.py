"""Features of three classes with texts: new images of another look may score as before."""

from __future__ import annotations

import json

import numpy as np
from safetensors.numpy import save_file

from synood import OODDetector

DIM, CLASSES = 24, ["ant", "bee", "cat"]
TEXTS, NEGATIVES = np.eye(DIM)[:3] + 0.1, np.eye(DIM)[6:18] + 0.1


def around(seed, each=60, *, less=0.0, spread=1.0):
    """Features (3 each, D) and labels; `less` like the negatives, `spread` where no text is."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(3), each)
    noise = 0.3 * rng.normal(size=(len(labels), DIM))
    noise[:, 18:] *= spread
    noise[:, 6:18] -= less
    return (3 * (np.eye(DIM)[labels] + noise)).astype(np.float32), labels


def other_looks(seed, each=100):
    """Return features of another look: it lowers what images say as much as texts make up for."""
    return around(seed, each, less=0.24, spread=1.15)[0]


def fitted(seed=0):
    """Make a detector whose score weighs texts and images, calibrated fold by fold."""
    return OODDetector.from_features(*around(seed), CLASSES, TEXTS, NEGATIVES, logit_scale=10)


def write_training(path, seed=0):
    """Write a file for `fit --features` that makes such a detector."""
    rows, labels = around(seed)
    tensors = {
        "features": rows, "labels": labels, "text_features": TEXTS, "negative_features": NEGATIVES,
    }  # fmt: skip
    save_file(tensors, path, {"class_names": json.dumps(CLASSES)})
    return path


def write_features(path, rows):
    """Write a file for `score --features` and `calibrate --features`."""
    save_file({"features": rows}, path)
    return path
