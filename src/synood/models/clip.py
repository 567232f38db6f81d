"""ImageTextEncoder: images and texts -> features in one space; CLIP through transformers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from synood.models.checkpoints import load_model
from synood.models.contexts import ContextTowerEncoder
from synood.models.image_processors import load_preprocess
from synood.models.precision import chosen_dtype
from synood.models.tokens import check_end, load_tokenizer, padded

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    import torch
    from numpy.typing import NDArray
    from PIL import Image

    from synood.images.presets import Preprocess


class ImageTextEncoder(Protocol):
    """The interface of image-text encoders; features are float32 and not normalised."""

    name: str
    dim: int  # D, the length of a feature
    logit_scale: float  # the factor of the cosines in training
    logit_bias: float  # added after it: 0 except for encoders trained with a sigmoid loss
    image_size: int  # side of the image tower's input in pixels

    @property
    def fingerprint(self) -> str:
        """Sixteen hex digits that change with the weights, the vocabulary or the preprocessing."""

    def encode_images(
        self, images: Sequence[Image.Image], batch_size: int = 64
    ) -> NDArray[np.float32]:
        """Encode RGB images of any size into (N, D)."""

    def encode_texts(self, texts: Sequence[str], batch_size: int = 256) -> NDArray[np.float32]:
        """Encode prompts into (M, D); an `InputError` names one that is too long."""

    def encode_pixels(self, pixels: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) in [0, 1] -> (N, D), differentiable, resized for the tower."""


class ClipEncoder(ContextTowerEncoder):
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
        context = model.config.text_config.max_position_embeddings
        super().__init__(model, tokenizer, context, preprocess, source, revision)
        self.dim: int = model.config.projection_dim
        self.logit_scale: float = model.logit_scale.float().exp().item()
        self.image_size: int = model.config.vision_config.image_size

    @classmethod
    def from_pretrained(
        cls,
        path_or_id: str | Path,
        device: str = "cpu",
        dtype: str | torch.dtype = "float32",
        revision: str | None = None,
        preprocess: Preprocess | None = None,
    ) -> ClipEncoder:
        """Load weights, vocabulary and, unless `preprocess` is given, the checkpoint's own.

        `dtype` is the precision of the weights, or "auto". Raises `CheckpointError` when a file is
        missing or the weights are incomplete.
        """
        from transformers import CLIPModel

        where: dict[str, Any] = {"source": path_or_id, "revision": revision}
        preprocess = preprocess or load_preprocess(**where)
        precision = chosen_dtype(dtype, device)
        model = load_model(CLIPModel, dtype=precision, device=device, **where)
        tower = model.config.text_config
        tokenizer = load_tokenizer(vocabulary=tower.vocab_size, **where)
        check_end(tower.eos_token_id, tokenizer, str(path_or_id))
        return cls(model, tokenizer, preprocess, path_or_id, revision)

    def _token_embedding(self) -> torch.nn.Embedding:
        embedding: torch.nn.Embedding = self._model.text_model.embeddings.token_embedding
        return embedding

    def _patch_features(self, inputs: torch.Tensor) -> torch.Tensor:
        """Skip attention in the last block: each patch keeps its own value vector.

        So it stays a local feature (Miyai et al., GL-MCM, clip/model.py:189-203).
        """
        tower = self._model.vision_model
        states = tower(pixel_values=inputs, output_hidden_states=True).hidden_states[-2]
        last = tower.encoder.layers[-1]
        values = last.self_attn.v_proj(last.layer_norm1(states))
        states = states + last.self_attn.out_proj(values)
        states = states + last.mlp(last.layer_norm2(states))
        local: torch.Tensor = self._model.visual_projection(tower.post_layernorm(states[:, 1:]))
        return local

    def _image_features(self, inputs: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = self._model.get_image_features(pixel_values=inputs).pooler_output
        return features

    def _text_features(self, rows: Sequence[Sequence[int]]) -> torch.Tensor:
        # attention is causal and the end token is read: the padding after it changes nothing
        longest = max(len(row) for row in rows)
        ids, mask = padded(rows, longest, self._tokenizer.pad_token_id)
        features: torch.Tensor = self._model.get_text_features(
            input_ids=ids.to(self.device), attention_mask=mask.to(self.device)
        ).pooler_output
        return features
