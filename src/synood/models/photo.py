"""The bundle `photo`: a published ImageNet classifier that is an image-text encoder as well.

The image side is EfficientNet-Lite0 as its authors trained it (Apache-2.0): its 1,280 pooled
features, less their mean over photographs, and its own classifier of the 1,000 ImageNet classes.
The text side maps a sentence's feature to a row as the classifier's rows are (as DeViSE and ConSE
do, Frome et al. 2013, Norouzi et al. 2014): a name near the names of some classes gets the mean of
their rows. No photograph was needed to make it, and none of the network's weights was changed.

Directory: `config.json`, `model.safetensors` (network, classifier, mean, text side).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from synood.files import fingerprint, sha256_file
from synood.images.presets import Preprocess
from synood.labels.imagenet import class_names_by_wnid
from synood.models._pixels import PixelPreprocess
from synood.models.dual import (
    MEAN,
    STD,
    DualEncoder,
    Towers,
    files_of,
    load_towers,
    read_config,
)
from synood.models.sentences import SentenceTower

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

CLASSES = 1000
_SENTENCE = 384


class PhotoTowers(Towers):
    """The network with its classifier, and the text side (see the module's text)."""

    image_mean: Tensor
    anchors: Tensor

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        self.classifier = nn.Linear(self.tower.dim, CLASSES)
        self.sharpness = float(config["sharpness"])
        self.register_buffer("image_mean", torch.zeros(self.tower.dim))
        self.register_buffer("anchors", torch.zeros(CLASSES, _SENTENCE))

    def joined(self, features: Tensor) -> Tensor:
        """Centre the network's features (..., 1280)."""
        return features - self.image_mean

    def text_features(self, sentences: Tensor) -> Tensor:
        """Map sentence features (N, 384) to mixtures of the classifier's centred rows (N, 1280)."""
        rows = self.classifier.weight - self.classifier.weight.mean(dim=0)
        near = (self.sharpness * sentences @ self.anchors.T).softmax(dim=-1)
        mixed: Tensor = near @ rows
        return mixed

    def logits(self, pixels: Tensor) -> Tensor:
        """Map pixels (N, 3, S, S) in [0, 1] to the logits (N, 1000) of ImageNet's classes."""
        logits: Tensor = self.classifier(self.tower((pixels - MEAN) / STD))
        return logits


class PhotoEncoder(DualEncoder):
    """Encodes photographs and texts into a joint space; see `models.clip.ImageTextEncoder`."""

    @classmethod
    def from_pretrained(
        cls,
        path: str | Path,
        device: str = "cpu",
        text: str | Path | None = None,
        known: str | Path | None = None,
    ) -> PhotoEncoder:
        """Load from a directory; missing or unknown tensors are a `CheckpointError`.

        `text` is the sentence model's folder, "text" in the directory if not given; `known` is the
        folder of the features that ship (`SentenceTower`).
        """
        path = Path(path)
        text = path / "text" if text is None else Path(text)
        config = read_config(path)
        towers = load_towers(PhotoTowers(config), path, device)
        shipped = None if known is None else Path(known)
        folders = (path, text) if shipped is None else (path, text, shipped)
        mark = fingerprint([sha256_file(file) for folder in folders for file in files_of(folder)])
        sentences = SentenceTower(text, device, shipped)
        return cls(towers, sentences, config, mark, preprocess_of(config))

    def encode_pixels(self, pixels: Tensor) -> Tensor:
        """Encode pixels (N, 3, H, W) in [0, 1] into (N, D); differentiable.

        They are resized and cropped as in `encode_images`.
        """
        return self._features(on_tensors(self.preprocess)(pixels))


class PhotoClassifier:
    """The network's own classifier of ImageNet's 1,000 classes; see `models.classifier.Classifier`.

    Its names are OpenAI's (`synood.labels.imagenet`), in the order of the classes' ids.
    """

    def __init__(self, towers: PhotoTowers, preprocess: Preprocess, mark: str) -> None:
        self.class_names = tuple(class_names_by_wnid().values())
        self.fingerprint = mark
        self._towers = towers.eval().requires_grad_(False)
        self._preprocess = on_tensors(preprocess)

    @classmethod
    def from_pretrained(cls, path: str | Path, device: str = "cpu") -> PhotoClassifier:
        """Load from the encoder's directory; missing or unknown tensors are a `CheckpointError`."""
        path = Path(path)
        config = read_config(path)
        towers = load_towers(PhotoTowers(config), path, device)
        mark = fingerprint("classifier", [sha256_file(file) for file in files_of(path)])
        return cls(towers, preprocess_of(config), mark)

    def logits(self, pixels: Tensor) -> Tensor:
        """(N, 3, H, W) in [0, 1] -> (N, 1000), differentiable."""
        return self._towers.logits(self._seen(pixels))

    def penultimate(self, pixels: Tensor) -> Tensor:
        """(N, 3, H, W) in [0, 1] -> (N, 1280): the input of the last linear layer."""
        features: Tensor = self._towers.tower((self._seen(pixels) - MEAN) / STD)
        return features

    @property
    def head(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The last linear layer: weight (1000, 1280) and bias (1000,)."""
        layer = self._towers.classifier
        weight, bias = (value.detach().cpu().numpy() for value in (layer.weight, layer.bias))
        return weight.astype(np.float32), bias.astype(np.float32)

    def _seen(self, pixels: Tensor) -> Tensor:
        device = self._towers.classifier.weight.device
        return self._preprocess(pixels.to(device, torch.float32))


def preprocess_of(config: Mapping[str, Any]) -> Preprocess:
    """Return the authors' resizing and crop: bicubic, the middle 7/8 of the shorter side."""
    size = int(config["image_size"])
    mean, std = (MEAN,) * 3, (STD,) * 3
    return Preprocess("photo", size, "bicubic", "center_floor", mean, std, int(config["resize"]))


def on_tensors(steps: Preprocess) -> PixelPreprocess:
    """Return the resizing and the crop of `steps` on tensors; the network normalises itself."""
    crop = (steps.size, steps.size)
    nothing, one = (0.0,) * 3, (1.0,) * 3
    return PixelPreprocess(steps.resize or steps.size, crop, steps.interpolation, nothing, one)
