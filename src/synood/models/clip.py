"""ImageTextEncoder: images and texts -> features in one space; CLIP through transformers."""

from __future__ import annotations

from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch

from synood.errors import CheckpointError, InputError
from synood.files import fingerprint
from synood.models._pixels import PixelPreprocess
from synood.models.checkpoints import checkpoint_fingerprint, load_model, load_part
from synood.models.tokens import load_tokenizer, padded, token_rows

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray
    from PIL import Image

    from synood.images.reading import Preprocess


LEGACY_END = 2  # in old configurations whatever the tokenizer has; the largest id is meant

TENSOR_FILTERS = {"nearest": "nearest-exact", "bilinear": "bilinear", "bicubic": "bicubic"}


class ImageTextEncoder(Protocol):
    """What the rest asks of an image-text encoder; features are float32 and not normalised."""

    name: str
    dim: int  # D, the length of a feature
    logit_scale: float  # what the encoder was trained to multiply cosines by
    image_size: int  # side in pixels of what the image tower sees

    @property
    def fingerprint(self) -> str:
        """Sixteen hex digits that change with the weights, the vocabulary or the preprocessing."""

    def encode_images(
        self, images: Sequence[Image.Image], batch_size: int = 64
    ) -> NDArray[np.float32]:
        """Encode RGB images of any size into (N, D)."""

    def encode_texts(self, texts: Sequence[str], batch_size: int = 256) -> NDArray[np.float32]:
        """Encode prompts into (M, D); one that is too long is an `InputError` naming it."""

    def encode_pixels(self, pixels: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) in [0, 1] -> (N, D), differentiable, resized as the tower needs."""


class ClipEncoder:
    """Any CLIPModel that transformers loads, from a directory or a hub id.

    >>> encoder = ClipEncoder.from_pretrained("openai/clip-vit-base-patch16")  # doctest: +SKIP
    >>> encoder.encode_texts(["a photo of a cat"]).shape  # doctest: +SKIP
    (1, 512)
    """

    def __init__(
        self,
        model: Any,  # noqa: ANN401 - transformers is untyped here
        tokenizer: Any,  # noqa: ANN401
        preprocess: Preprocess,
        source: str | Path,
        revision: str | None = None,
    ) -> None:
        self._model, self._tokenizer = model, tokenizer
        self._source, self._revision = source, revision
        self.preprocess = preprocess
        self.name = Path(source).name if Path(source).is_dir() else str(source)
        self.dim: int = model.config.projection_dim
        self.logit_scale: float = model.logit_scale.exp().item()
        self.image_size: int = model.config.vision_config.image_size
        self.device: torch.device = model.device

    @classmethod
    def from_pretrained(
        cls,
        path_or_id: str | Path,
        device: str = "cpu",
        dtype: torch.dtype = torch.float32,
        revision: str | None = None,
        preprocess: Preprocess | None = None,
    ) -> ClipEncoder:
        """Load weights, vocabulary and, unless `preprocess` is given, the checkpoint's own.

        Raises `CheckpointError` when a file is missing or the weights are incomplete.
        """
        from transformers import CLIPModel
        from transformers.image_processing_base import ImageProcessingMixin

        from synood.images.reading import from_processor_config

        where: dict[str, Any] = {"source": path_or_id, "revision": revision}
        if preprocess is None:
            config, _ = load_part(ImageProcessingMixin.get_image_processor_dict, **where)
            preprocess = from_processor_config(config, f"{path_or_id}/preprocessor_config.json")
        model = load_model(CLIPModel, dtype=dtype, device=device, **where)
        tower = model.config.text_config
        tokenizer = load_tokenizer(vocabulary=tower.vocab_size, **where)
        if tower.eos_token_id not in (LEGACY_END, tokenizer.eos_token_id):
            raise CheckpointError(
                f"{path_or_id}: eos_token_id is {tower.eos_token_id} in config.json and "
                f"{tokenizer.eos_token_id} in the tokenizer; text features are read at that token"
            )
        return cls(model, tokenizer, preprocess, path_or_id, revision)

    @cached_property
    def fingerprint(self) -> str:
        """Sixteen hex digits that change with the weights, the vocabulary or the preprocessing."""
        steps = {**asdict(self.preprocess), "name": None}  # what it does, not what it is called
        return fingerprint(checkpoint_fingerprint(self._source, revision=self._revision), steps)

    @torch.no_grad()
    def encode_images(
        self, images: Sequence[Image.Image], batch_size: int = 64
    ) -> NDArray[np.float32]:
        """Encode RGB images of any size into (N, D) float32, not normalised."""
        features = np.empty((len(images), self.dim), np.float32)
        for rows in _batches(len(images), batch_size):
            batch = np.stack([self.preprocess.apply(images[row]) for row in rows])
            features[rows] = self._image_features(torch.from_numpy(batch)).float().cpu().numpy()
        return features

    @torch.no_grad()
    def encode_image_patches(
        self, images: Sequence[Image.Image], batch_size: int = 64
    ) -> NDArray[np.float32]:
        """Encode RGB images into (N, L, D): one feature a patch, as GL-MCM reads them.

        In the last block each patch keeps its own value instead of attending to the others
        (Miyai et al., GL-MCM, clip/model.py:189-203), so it stays a feature of its place.
        """
        features = [
            self._patch_features(np.stack([self.preprocess.apply(images[row]) for row in rows]))
            for rows in _batches(len(images), batch_size)
        ]
        return np.concatenate(features) if features else np.zeros((0, 0, self.dim), np.float32)

    def _patch_features(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        inputs = torch.from_numpy(batch).to(device=self.device, dtype=self._model.dtype)
        tower = self._model.vision_model
        states = tower(pixel_values=inputs, output_hidden_states=True).hidden_states[-2]
        last = tower.encoder.layers[-1]
        values = last.self_attn.v_proj(last.layer_norm1(states))
        states = states + last.self_attn.out_proj(values)
        states = states + last.mlp(last.layer_norm2(states))
        local = self._model.visual_projection(tower.post_layernorm(states[:, 1:]))
        features: NDArray[np.float32] = local.float().cpu().numpy()
        return features

    @torch.no_grad()
    def encode_texts(self, texts: Sequence[str], batch_size: int = 256) -> NDArray[np.float32]:
        """Encode prompts into (M, D) float32, not normalised.

        Texts of like length share a batch and are padded to its longest only: the features are
        those of full padding to 1e-5 and take a fraction of the time. Raises `InputError`
        naming a prompt that exceeds the tower's context.
        """
        tower = self._model.config.text_config
        tokens = token_rows(self._tokenizer, texts, tower.max_position_embeddings)
        order = sorted(range(len(tokens)), key=lambda row: len(tokens[row]))
        features = np.empty((len(tokens), self.dim), np.float32)
        for places in _batches(len(tokens), batch_size):
            rows = [order[place] for place in places]
            longest = max(len(tokens[row]) for row in rows)
            ids, mask = padded([tokens[row] for row in rows], longest, self._tokenizer.pad_token_id)
            output = self._model.get_text_features(
                input_ids=ids.to(self.device), attention_mask=mask.to(self.device)
            )
            features[rows] = output.pooler_output.float().cpu().numpy()
        return features

    def encode_pixels(self, pixels: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) in [0, 1] -> (N, D) on the encoder's device, differentiable."""
        return self._image_features(self._on_tensors(pixels.to(self.device)))

    @cached_property
    def _on_tensors(self) -> PixelPreprocess:
        """The same preprocessing on tensors, so that gradients pass through it."""
        steps = self.preprocess
        if steps.interpolation not in TENSOR_FILTERS:
            raise InputError(
                f"{self.name}: {steps.interpolation} resizing of its preprocessor is not known on "
                f"tensors, only {', '.join(TENSOR_FILTERS)}; give ClipEncoder another preprocess"
            )
        whole = (steps.size, steps.size)
        squash = steps.crop == "squash"
        return PixelPreprocess(
            resize=whole if squash else steps.resize or steps.size,
            crop=None if squash else whole,
            interpolation=TENSOR_FILTERS[steps.interpolation],
            mean=steps.mean,
            std=steps.std,
        )

    def _image_features(self, inputs: torch.Tensor) -> torch.Tensor:
        inputs = inputs.to(device=self.device, dtype=self._model.dtype)
        features: torch.Tensor = self._model.get_image_features(pixel_values=inputs).pooler_output
        return features


def _batches(count: int, size: int) -> Iterator[list[int]]:
    """Yield 0 to count - 1 in runs of at most `size`."""
    for start in range(0, count, size):
        yield list(range(start, min(start + size, count)))
