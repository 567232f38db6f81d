"""The bundle `photo`: a published ImageNet classifier that is an image-text encoder as well.

The image side is EfficientNet-Lite0 as its authors trained it (Apache-2.0): its 1,280 pooled
features, less their mean over ImageNet as its last batch norm tells it, and its own classifier of
the 1,000 ImageNet classes. The text side holds names with a row each, a direction among the image
features as the classifier's rows are; a sentence gets the mean of the rows of the names near it
(softmax of the cosines of a sentence model). The rows were learnt from the classifier's rows and
WordNet (`tools/photo/text_side.py`), without a photograph; no weight of the network was changed.

Directory: `config.json`, `model.safetensors` (network, classifier, mean, text side). Beside it a
folder of texts that are often encoded, with their features, which are the definition: such a text
has the same feature on any machine and takes no time.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from synood.errors import CheckpointError
from synood.files import fingerprint, read_text, sha256_once
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
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

CLASSES = 1000
KNOWN, KNOWN_TEXTS = "rows.safetensors", "texts.txt"
_BLOCK = 1024  # sentences whose cosines with all names are in memory at once


class PhotoTowers(Towers):
    """The network with its classifier, and the text side (see the module's text).

    `anchors` (A, S) are the names' sentence features, `log_counts` (A,) say how many names each
    stands for. The rows of the first 1,000 are the classifier's; those of the others are
    `rows` (A - 1000, R) times `basis` (R, 1280).
    """

    image_mean: Tensor
    anchors: Tensor
    log_counts: Tensor
    rows: Tensor
    basis: Tensor

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        self.classifier = nn.Linear(self.tower.dim, CLASSES)
        self.sharpness = float(config["sharpness"])
        names, rank = int(config["names"]), int(config["rank"])
        for name, shape in (
            ("image_mean", (self.tower.dim,)),
            ("anchors", (names, int(config["sentence_dim"]))),
            ("log_counts", (names,)),
            ("rows", (names - CLASSES, rank)),
            ("basis", (rank, self.tower.dim)),
        ):
            self.register_buffer(name, torch.zeros(shape))

    def joined(self, features: Tensor) -> Tensor:
        """Centre the network's features (..., 1280)."""
        return features - self.image_mean

    def text_features(self, sentences: Tensor) -> Tensor:
        """Map sentence features (N, S) to means of the names' rows (N, 1280)."""
        return torch.cat([self._mixed(block) for block in torch.split(sentences, _BLOCK)])

    def _mixed(self, sentences: Tensor) -> Tensor:
        logits = self.sharpness * sentences @ self.anchors.T + self.log_counts
        near = logits.softmax(dim=-1)
        others: Tensor = (near[:, CLASSES:] @ self.rows) @ self.basis
        return near[:, :CLASSES] @ self.class_rows + others

    @property
    def class_rows(self) -> Tensor:
        """The classifier's centred rows at unit length: (1000, 1280)."""
        weight = self.classifier.weight
        return F.normalize(weight - weight.mean(dim=0), dim=-1)

    def logits(self, pixels: Tensor) -> Tensor:
        """Map pixels (N, 3, S, S) in [0, 1] to the logits (N, 1000) of ImageNet's classes."""
        logits: Tensor = self.classifier(self.tower((pixels - MEAN) / STD))
        return logits


class PhotoEncoder(DualEncoder):
    """Encodes photographs and texts into a joint space; see `models.clip.ImageTextEncoder`."""

    together = 1  # at 224 pixels more of them are no faster
    _known_path: Path | None = None

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
        folder of the texts whose features ship.
        """
        path = Path(path)
        text = path / "text" if text is None else Path(text)
        config = read_config(path)
        towers = load_towers(lambda: PhotoTowers(config), path, device)
        folders = [path, text, *([] if known is None else [Path(known)])]
        mark = fingerprint([sha256_once(file) for folder in folders for file in files_of(folder)])
        encoder = cls(towers, SentenceTower(text, device), config, mark, preprocess_of(config))
        encoder._known_path = None if known is None else Path(known)
        return encoder

    def encode_texts(self, texts: Sequence[str], batch_size: int = 256) -> NDArray[np.float32]:
        """Encode texts into (N, D) float32, not normalised; an `InputError` names one too long."""
        known = self._known_texts
        shipped = [row for row, text in enumerate(texts) if text in known]
        new = [row for row, text in enumerate(texts) if text not in known]
        result = np.zeros((len(texts), self.dim), np.float32)
        if new:
            result[new] = super().encode_texts([texts[row] for row in new], batch_size)
        if shipped:
            result[shipped] = self._known_rows([known[texts[row]] for row in shipped])
        return result

    def _known_rows(self, places: list[int]) -> NDArray[np.float32]:
        """Return the shipped features of some of the known texts."""
        steps = self._known_steps[places].astype(np.float32)
        steps /= np.linalg.norm(steps, axis=1, keepdims=True)
        basis = self._towers.get_buffer("basis").cpu().numpy()
        rows: NDArray[np.float32] = steps @ basis
        return rows

    @cached_property
    def _known_texts(self) -> dict[str, int]:
        """The row of each text whose feature ships."""
        if self._known_path is None:
            return {}
        texts = read_text(self._known_path / KNOWN_TEXTS).splitlines()
        return {text: row for row, text in enumerate(texts)}

    @cached_property
    def _known_steps(self) -> NDArray[np.int8]:
        """The known texts' features as int8 coordinates along `basis`: (K, R)."""
        from safetensors.numpy import load_file

        assert self._known_path is not None
        path = self._known_path / KNOWN
        steps: NDArray[np.int8] = load_file(path)["rows"]
        if len(steps) != len(self._known_texts):
            raise CheckpointError(
                f"{path}: {len(steps)} rows for the {len(self._known_texts)} texts of "
                f"{KNOWN_TEXTS}; restore both"
            )
        return steps

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
        towers = load_towers(lambda: PhotoTowers(config), path, device)
        mark = fingerprint("classifier", [sha256_once(file) for file in files_of(path)])
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
