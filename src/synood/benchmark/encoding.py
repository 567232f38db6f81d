"""Every image of a suite goes through each network once; all methods read the same arrays."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

from synood.files import sha256_file
from synood.images.reading import read_image
from synood.pipeline._workspace import unheard

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from PIL import Image

    from synood.benchmark.suites import ImageSet
    from synood.models.classifier import Classifier
    from synood.pipeline._features import FeatureStore

BATCH_SIZE = 64  # pictures classified at a time


@dataclass(frozen=True, eq=False)
class Encoded:
    """One image set as seen by the networks, rows in the order of the set's listing.

    `features` (N, D) float32 are the image-text encoder's, not normalised; `logits` (N, C)
    float32 the classifier's.
    """

    name: str
    group: str
    features: NDArray[np.float32]
    logits: NDArray[np.float32]


def encode_set(image_set: ImageSet, store: FeatureStore, classifier: Classifier) -> Encoded:
    """Encode one set; features come from `store`, which keeps them for the next run."""
    paths = [record.path for record in image_set.index().records]
    features = store.images(paths, [sha256_file(path) for path in paths], unheard)
    logits = [
        classify([read_image(path) for path in paths[start : start + BATCH_SIZE]], classifier)
        for start in range(0, len(paths), BATCH_SIZE)
    ]
    return Encoded(image_set.name, image_set.group, features, np.concatenate(logits))


def classify(images: Sequence[Image.Image], classifier: Classifier) -> NDArray[np.float32]:
    """Return the classifier's logits (N, C) for RGB images of any sizes, without gradients."""
    import torch

    logits = []
    for _, same_size in groupby(images, key=lambda image: image.size):
        arrays = np.stack([np.asarray(image, dtype=np.float32) / 255 for image in same_size])
        with torch.no_grad():
            pixels = torch.from_numpy(arrays).permute(0, 3, 1, 2)
            logits.append(classifier.logits(pixels).float().cpu().numpy())
    return np.concatenate(logits)
