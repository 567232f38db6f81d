"""Any OpenCLIP model through open_clip itself, which needs torchvision: the extra `open-clip`.

CLIP with a ResNet works without it (`models/resnet_clip.py`), and most ViTs are on the hub in the
layout of transformers as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from synood.errors import InputError
from synood.models.checkpoints import import_optional, load_folder, load_part
from synood.models.precision import chosen_dtype
from synood.models.resnet_clip import open_clip_preprocess
from synood.models.towers import TowerEncoder

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

FILES = ("*.json", "*.txt", "*.model", "open_clip_model.safetensors")


class OpenClipEncoder(TowerEncoder):
    """A directory or hub id with an `open_clip_config.json` and safetensors.

    >>> OpenClipEncoder.from_pretrained("timm/ViT-B-16-SigLIP").dim  # doctest: +SKIP
    768
    """

    @classmethod
    def from_pretrained(
        cls,
        path_or_id: str | Path,
        device: str = "cpu",
        dtype: str | torch.dtype = "float32",
        revision: str | None = None,
    ) -> OpenClipEncoder:
        """Load weights, vocabulary and preprocessing; `dtype` as for `ClipEncoder`.

        Raises `InputError` where open_clip cannot be imported.
        """
        library = import_optional("open_clip", "open-clip")
        name = f"local-dir:{load_folder(path_or_id, FILES, revision)}"
        model = load_part(library.create_model, name, require_pretrained=True)
        model = model.to(device=device, dtype=chosen_dtype(dtype, device))
        model = model.requires_grad_(False).eval()
        settings = library.get_model_preprocess_cfg(model)
        size = settings["size"] if isinstance(settings["size"], int) else max(settings["size"])
        preprocess = open_clip_preprocess(settings, size, path_or_id)
        tokenizer = library.get_tokenizer(name)
        encoder = cls(model, tokenizer, model.context_length, preprocess, path_or_id, revision)
        encoder.image_size = size
        encoder.dim = encoder._text_features([tokenizer([""])[0].tolist()]).shape[1]
        encoder.logit_scale = float(model.logit_scale.float().exp())
        bias = getattr(model, "logit_bias", None)
        encoder.logit_bias = 0.0 if bias is None else float(bias)
        return encoder

    def _image_features(self, inputs: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = self._model.encode_image(inputs)
        return features

    def _token_rows(self, texts: Sequence[str]) -> list[list[int]]:
        """Return padded token ids; open_clip cuts a prompt that is too long, here it is refused."""
        if not texts:
            return []
        wider: Any = self._tokenizer([*texts, ""], context_length=self._context + 1)
        pad = wider[-1, -1]
        for prompt, row in zip(texts, wider, strict=False):
            if row[-1] != pad:
                raise InputError(
                    f'the prompt "{prompt}" takes more than the {self._context} tokens of the text '
                    "tower; shorten it"
                )
        rows: list[list[int]] = self._tokenizer(list(texts)).tolist()
        return rows

    def _text_features(self, rows: Sequence[Sequence[int]]) -> torch.Tensor:
        features: torch.Tensor = self._model.encode_text(torch.tensor(rows, device=self.device))
        return features
