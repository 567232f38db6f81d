"""Base classes of encoders: an image tower, a text tower, and both."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from synood.errors import InputError
from synood.files import fingerprint
from synood.models._pixels import PixelPreprocess
from synood.models.checkpoints import FINGERPRINTED, checkpoint_fingerprint
from synood.models.tokens import token_rows

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray
    from PIL import Image

    from synood.images.presets import Preprocess

TENSOR_FILTERS = {"nearest": "nearest-exact", "bilinear": "bilinear", "bicubic": "bicubic"}


class Tower(ABC):
    """A model of a library that encodes, with its name and its fingerprint."""

    together = 1  # see `features.encoding`; a product may round by the place in a batch
    _suffixes = FINGERPRINTED  # of the files in a folder that the fingerprint is of

    def __init__(
        self, model: torch.nn.Module, source: str | Path, revision: str | None = None
    ) -> None:
        self._model: Any = model
        self._source, self._revision = source, revision
        self.name = Path(source).name if Path(source).is_dir() else str(source)
        weights = next(model.parameters())
        self.device: torch.device = weights.device
        self._dtype: torch.dtype = weights.dtype

    @cached_property
    def fingerprint(self) -> str:
        """Sixteen hex digits that change with weights, precision, vocabulary or preprocessing."""
        rough = [] if self._dtype == torch.float32 else [str(self._dtype)]
        mark = checkpoint_fingerprint(
            self._source, revision=self._revision, suffixes=self._suffixes
        )
        return fingerprint(mark, self._steps(), *rough)

    @abstractmethod
    def _steps(self) -> dict[str, Any]:
        """Return all of the preprocessing that has an effect on the features."""


class ImageTower(Tower):
    """The image side: a subclass sets `dim`, `image_size` and `preprocess`."""

    dim: int
    image_size: int
    preprocess: Preprocess

    def _steps(self) -> dict[str, Any]:
        steps = {**asdict(self.preprocess), "name": None}  # the name has no effect on the features
        for later in ("plain", "fast"):  # encoders had this mark before files could be read so
            if not steps[later]:
                del steps[later]
        return steps

    @torch.no_grad()
    def encode_images(
        self, images: Sequence[Image.Image], batch_size: int = 64
    ) -> NDArray[np.float32]:
        """Encode RGB images of any size into (N, D) float32, not normalised."""
        features = np.empty((len(images), self.dim), np.float32)
        for rows in batches(len(images), batch_size):
            batch = np.stack([self.preprocess.apply(images[row]) for row in rows])
            features[rows] = self._embedded(torch.from_numpy(batch)).float().cpu().numpy()
        return features

    def encode_pixels(self, pixels: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) in [0, 1] -> (N, D) float32 on the encoder's device, differentiable."""
        return self._embedded(self._on_tensors(pixels.to(self.device))).float()

    def image_side(self) -> torch.nn.Module:
        """Return the module whose weights `features_of` reads."""
        module: torch.nn.Module = self._model
        return module

    def features_of(self, pixels: torch.Tensor) -> torch.Tensor:
        """Map pixels (N, 3, S, S) in [0, 1], resized and cut, to features (N, D)."""
        mean, std = (
            pixels.new_tensor(values).view(1, -1, 1, 1)
            for values in (self.preprocess.mean, self.preprocess.std)
        )
        return self._image_features((pixels - mean) / std)

    def in_single_precision(self) -> ImageTower:
        """Return the encoder on the CPU, computing in float32."""
        if self.device.type == "cpu" and self._dtype == torch.float32:
            return self
        found = copy.copy(self)
        found._model = copy.deepcopy(self._model).to("cpu", torch.float32)
        found.device, found._dtype = torch.device("cpu"), torch.float32
        return found

    @cached_property
    def _on_tensors(self) -> PixelPreprocess:
        """The same preprocessing on tensors, differentiable."""
        steps = self.preprocess
        edge = steps.resize or steps.size
        return PixelPreprocess(
            resize=(edge, edge) if steps.crop == "squash" else edge,
            crop=(steps.size, steps.size),
            interpolation=tensor_filter(steps.interpolation, self.name),
            mean=steps.mean,
            std=steps.std,
        )

    def _embedded(self, inputs: torch.Tensor) -> torch.Tensor:
        return self._image_features(inputs.to(device=self.device, dtype=self._dtype))

    @abstractmethod
    def _image_features(self, inputs: torch.Tensor) -> torch.Tensor:
        """(N, 3, S, S), preprocessed -> (N, D)."""


class TextTower(Tower):
    """The text side: a subclass sets `dim`, `_tokenizer` and `_context`, its longest text."""

    dim: int
    _tokenizer: Any
    _context: int

    @torch.no_grad()
    def encode_texts(self, texts: Sequence[str], batch_size: int = 256) -> NDArray[np.float32]:
        """Encode prompts into (M, D) float32, not normalised.

        Texts of similar length share a batch, padded to its longest where the tower ignores the
        padding. Raises `InputError` naming a prompt that exceeds the context length.
        """
        tokens = self._token_rows(texts)
        order = sorted(range(len(tokens)), key=lambda row: len(tokens[row]))
        features = np.empty((len(tokens), self.dim), np.float32)
        for places in batches(len(tokens), batch_size):
            rows = [order[place] for place in places]
            output = self._text_features([tokens[row] for row in rows])
            features[rows] = output.float().cpu().numpy()
        return features

    def _token_rows(self, texts: Sequence[str]) -> list[list[int]]:
        return token_rows(self._tokenizer, texts, self._context)

    @abstractmethod
    def _text_features(self, rows: Sequence[Sequence[int]]) -> torch.Tensor:
        """Token ids with start and end, of any lengths -> (N, D)."""


class TowerEncoder(ImageTower, TextTower):
    """An image-text encoder over a library's model; see `models.clip.ImageTextEncoder`.

    A subclass sets `dim`, `image_size`, `logit_scale` and, where it has one, `logit_bias`, and
    embeds a batch in `_image_features` and `_text_features`.
    """

    logit_scale: float
    logit_bias: float = 0.0

    def __init__(
        self,
        model: torch.nn.Module,
        tokenizer: Any,  # noqa: ANN401 - a transformers tokenizer, untyped here
        context: int,
        preprocess: Preprocess,
        source: str | Path,
        revision: str | None = None,
    ) -> None:
        super().__init__(model, source, revision)
        self._tokenizer, self._context = tokenizer, context
        self.preprocess = preprocess


def tensor_filter(interpolation: str, name: str) -> str:
    """Return torch's name of a filter; an `InputError` names the encoder of one it has not."""
    if interpolation not in TENSOR_FILTERS:
        raise InputError(
            f"{name}: {interpolation} resizing is not available on tensors, only "
            f"{', '.join(TENSOR_FILTERS)}; give the encoder another preprocess"
        )
    return TENSOR_FILTERS[interpolation]


def batches(count: int, size: int) -> Iterator[list[int]]:
    """Yield the indices 0 to count - 1 in batches of at most `size`."""
    for start in range(0, count, size):
        yield list(range(start, min(start + size, count)))
