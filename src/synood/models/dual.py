"""The mini bundle's image-text encoder: an image network aligned with a frozen sentence model.

Locked-text tuning (as Zhai et al., "LiT", CVPR 2022, with the other tower locked): the text
tower is a BERT-type sentence encoder read through transformers, the image tower an
EfficientNet-Lite0 and one linear map. An image tower pretrained on ImageNet also works on
photographs, which a small CLIP trained from scratch on drawings does not.

Directory: `config.json`, `model.safetensors` (image tower, maps), `text/` (transformers layout;
word embeddings may be stored as int8 with one scale per row, which halves the file).
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from synood.errors import CheckpointError
from synood.files import fingerprint, read_json, sha256_once
from synood.images.presets import Preprocess
from synood.models.contexts import embeddings_of, replaced_embeddings, with_placeholders
from synood.models.efficientnet_lite import EfficientNetLite0
from synood.models.sentences import TENSORS, SentenceTower, unpack_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from PIL import Image

TowersKind = TypeVar("TowersKind", bound="Towers")
CONFIG = "config.json"
SCHEMA = 1
MEAN, STD = 127 / 255, 128 / 255  # of the image network: (x - 127) / 128 for bytes


class Towers(nn.Module, ABC):
    """An image network, and the maps that bring images and sentences into one space."""

    def __init__(self) -> None:
        super().__init__()
        self.tower = EfficientNetLite0()
        self.log_scale = nn.Parameter(torch.tensor(3.0))

    def image_features(self, pixels: Tensor) -> Tensor:
        """Map pixels (N, 3, S, S) in [0, 1] to features (N, D)."""
        return self.joined(self.tower((pixels - MEAN) / STD))

    def patch_features(self, pixels: Tensor) -> Tensor:
        """Map pixels (N, 3, S, S) in [0, 1] to the features (N, L, D) of L grid cells.

        Pooling and image map are affine, so the mean over the cells is the image's feature.
        """
        return self.joined(self.tower.cells((pixels - MEAN) / STD).flatten(2).transpose(1, 2))

    @abstractmethod
    def joined(self, features: Tensor) -> Tensor:
        """Map the image network's features (..., 1280) to the joint space (..., D)."""

    @abstractmethod
    def text_features(self, sentences: Tensor) -> Tensor:
        """Map the sentence model's features (N, S) to the joint space (N, D)."""


class DualTowers(Towers):
    """The mini bundle's trained part: image map (1280 to D) and text map (D to D)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.image_map = nn.Linear(self.tower.dim, dim)
        self.text_map = nn.Linear(dim, dim)

    def joined(self, features: Tensor) -> Tensor:
        """Map the image network's features (..., 1280) to the joint space (..., D)."""
        joined: Tensor = self.image_map(features)
        return joined

    def text_features(self, sentences: Tensor) -> Tensor:
        """Map the sentence model's features (N, D) to the joint space (N, D)."""
        features: Tensor = self.text_map(sentences)
        return features


class DualEncoder:
    """Encodes images and texts into a joint space; see `models.clip.ImageTextEncoder`."""

    together = 4  # see `features.encoding`; convolutions treat images alike, small ones gain by it

    def __init__(
        self,
        towers: Towers,
        text: SentenceTower,
        config: Mapping[str, Any],
        mark: str,
        preprocess: Preprocess | None = None,
    ) -> None:
        self._towers = towers.eval().requires_grad_(False)
        self._text = text
        self.name = str(config["name"])
        self.fingerprint = mark
        self.dim = int(config["dim"])
        self.image_size = int(config["image_size"])
        self.logit_scale = float(towers.log_scale.exp())
        self.logit_bias = 0.0
        self.preprocess = preprocess or Preprocess(
            "mini", self.image_size, "bilinear", "center", (MEAN,) * 3, (STD,) * 3
        )

    @classmethod
    def from_pretrained(cls, path: str | Path, device: str = "cpu") -> DualEncoder:
        """Load from a directory; missing or unknown tensors are a `CheckpointError`."""
        path = Path(path)
        config = read_config(path)
        towers = load_towers(lambda: DualTowers(int(config["dim"])), path, device)
        mark = fingerprint([sha256_once(file) for file in files_of(path)])
        return cls(towers, SentenceTower(path / "text", device), config, mark)

    def encode_images(self, images: Sequence[Image.Image], batch_size: int = 16) -> np.ndarray:
        """Encode images into (N, D) float32, not normalised."""
        if not images:
            return np.zeros((0, self.dim), np.float32)
        rows = []
        for start in range(0, len(images), batch_size):
            batch = [self.preprocess.pixels(image) for image in images[start : start + batch_size]]
            with torch.inference_mode():
                rows.append(self._features(torch.from_numpy(np.stack(batch))).cpu().numpy())
        return np.concatenate(rows).astype(np.float32)

    def encode_image_patches(
        self, images: Sequence[Image.Image], batch_size: int = 16
    ) -> np.ndarray:
        """Encode images into (N, L, D) float32: features of L grid cells."""
        side = -(-self.image_size // self._towers.tower.stride)
        if not images:
            return np.zeros((0, side * side, self.dim), np.float32)
        rows = []
        for start in range(0, len(images), batch_size):
            batch = [self.preprocess.pixels(image) for image in images[start : start + batch_size]]
            with torch.inference_mode():
                pixels = self._placed(torch.from_numpy(np.stack(batch)))
                rows.append(self._towers.patch_features(pixels).cpu().numpy())
        return np.concatenate(rows).astype(np.float32)

    def encode_pixels(self, pixels: Tensor) -> Tensor:
        """Encode pixels (N, 3, H, W) in [0, 1] into (N, D); differentiable.

        Square images are resized as in `encode_images`; others are squashed.
        """
        size = (self.image_size, self.image_size)
        if pixels.shape[-2:] != size:
            shrink = pixels.shape[-1] > self.image_size
            pixels = F.interpolate(pixels, size, mode="bilinear", antialias=shrink)
        return self._features(pixels)

    def image_side(self) -> nn.Module:
        """Return the module whose weights `features_of` reads."""
        return self._towers

    def features_of(self, pixels: Tensor) -> Tensor:
        """Map preprocessed pixels (N, 3, S, S) in [0, 1] to features (N, D)."""
        return self._towers.image_features(pixels)

    def in_single_precision(self) -> DualEncoder:
        """Return the encoder on the CPU; it is in float32 anyway."""
        if self._towers.log_scale.device.type == "cpu":
            return self
        found = copy.copy(self)
        found._towers = copy.deepcopy(self._towers).to("cpu")
        return found

    def _features(self, pixels: Tensor) -> Tensor:
        return self._towers.image_features(self._placed(pixels))

    def _placed(self, pixels: Tensor) -> Tensor:
        parameter = self._towers.log_scale
        pixels = pixels.to(parameter.device, parameter.dtype)
        return pixels.contiguous(memory_format=torch.channels_last)

    def encode_texts(self, texts: Sequence[str], batch_size: int = 256) -> np.ndarray:
        """Encode texts into (N, D) float32, not normalised; an `InputError` names one too long."""
        if not texts:
            return np.zeros((0, self.dim), np.float32)
        with torch.inference_mode():
            rows = self._towers.text_features(self._text.encode(texts, batch_size))
            return rows.cpu().numpy()

    def token_embeddings(self, text: str) -> Tensor:
        """See `models.contexts.ContextEncoder`."""
        return embeddings_of(self._text.token_rows([text])[0], self._text.word_embedding)

    def encode_with_context(self, texts: Sequence[str], contexts: Tensor) -> Tensor:
        """See `models.contexts.ContextEncoder`."""
        tower = self._text
        rows = with_placeholders(tower.token_rows(texts), texts, contexts.shape[-2], tower.limit)
        with replaced_embeddings(tower.word_embedding, contexts):
            return self._towers.text_features(tower.pooled(rows))


def read_config(path: Path) -> dict[str, Any]:
    """Read the configuration in an encoder's directory; another schema is a `CheckpointError`."""
    config: dict[str, Any] = read_json(path / CONFIG)
    if config.get("schema") != SCHEMA:
        raise CheckpointError(f"{path / CONFIG}: schema {config.get('schema')} is unknown")
    return config


def load_towers(make: Callable[[], TowersKind], path: Path, device: str) -> TowersKind:
    """Return towers with the weights in an encoder's directory, in float32, on `device`.

    Missing or unknown tensors are a `CheckpointError`.
    """
    from safetensors.torch import load_file

    with torch.device("meta"):  # random weights take as long to draw as these to read
        towers = make()

    state = unpack_rows(load_file(path / TENSORS))
    try:
        problems = towers.load_state_dict(state, strict=False, assign=True)
    except RuntimeError as error:  # of a tensor of another shape
        raise CheckpointError(f"{path / TENSORS}: {error}") from None
    if problems.missing_keys or problems.unexpected_keys:
        raise CheckpointError(f"{path / TENSORS}: not the tensors of this encoder ({problems})")
    return towers.to(device)


def files_of(path: Path) -> list[Path]:
    """Return every file of an encoder's directory, sorted."""
    return sorted(file for file in path.rglob("*") if file.is_file())
