"""SigLIP and SigLIP 2 through transformers: encoders trained with a sigmoid loss over all pairs.

Zhai et al., "Sigmoid Loss for Language Image Pre-Training", ICCV 2023, and Tschannen et al.,
"SigLIP 2", 2025. The probability that an image and a text match is sigmoid(scale * cosine + bias),
with a scale near 110 and a bias near -13.

The score and both tunings use the encoder's own scale (`models/scale.py`). The bias cancels in a
softmax; it matters only for a pair's probability.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from synood.models.checkpoints import load_model
from synood.models.image_processors import load_preprocess
from synood.models.precision import chosen_dtype
from synood.models.tokens import check_vocabulary, siglip_tokenizer
from synood.models.towers import TowerEncoder

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import torch

    from synood.images.presets import Preprocess


class SiglipEncoder(TowerEncoder):
    """Any SiglipModel that transformers loads: SigLIP, and SigLIP 2 of a fixed image size.

    >>> SiglipEncoder.from_pretrained("google/siglip-base-patch16-224").dim  # doctest: +SKIP
    768
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
        self.dim: int = model.config.vision_config.hidden_size
        self.logit_scale: float = model.logit_scale.float().exp().item()
        self.logit_bias: float = model.logit_bias.float().item()
        self.image_size: int = model.config.vision_config.image_size

    @classmethod
    def from_pretrained(
        cls,
        path_or_id: str | Path,
        device: str = "cpu",
        dtype: str | torch.dtype = "float32",
        revision: str | None = None,
    ) -> SiglipEncoder:
        """Load weights, vocabulary and preprocessing; `dtype` as for `ClipEncoder`.

        Raises `CheckpointError` when a file is missing or the weights are incomplete.
        """
        from transformers import SiglipModel

        where: dict[str, Any] = {"source": path_or_id, "revision": revision}
        preprocess = load_preprocess(**where)
        tokenizer = siglip_tokenizer(**where)
        precision = chosen_dtype(dtype, device)
        model = load_model(SiglipModel, dtype=precision, device=device, **where)
        check_vocabulary(tokenizer, model.config.text_config.vocab_size, str(path_or_id))
        return cls(model, tokenizer, preprocess, path_or_id, revision)

    def _image_features(self, inputs: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = self._model.get_image_features(pixel_values=inputs).pooler_output
        return features

    def _text_features(self, rows: Sequence[Sequence[int]]) -> torch.Tensor:
        ids = padded_fully(self._tokenizer, rows, self._context).to(self.device)
        features: torch.Tensor = self._model.get_text_features(input_ids=ids).pooler_output
        return features


def padded_fully(
    tokenizer: Any,  # noqa: ANN401 - transformers is untyped here
    rows: Sequence[Sequence[int]],
    length: int,
) -> torch.Tensor:
    """Return token ids (N, length).

    The text towers of SigLIP were trained without an attention mask and are pooled at the last
    position: the padding matters, so its length is fixed.
    """
    ids: torch.Tensor = tokenizer.pad(
        {"input_ids": rows}, padding="max_length", max_length=length, return_tensors="pt"
    )["input_ids"]
    return ids
