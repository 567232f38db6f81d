"""CLIP with a ResNet image tower (RN50, RN101, RN50x4, ...), read from safetensors.

Tensor names are those of OpenAI and OpenCLIP; their shapes determine the architecture. Such
checkpoints on the hub are `timm/resnet50_clip.openai` and similar, with `open_clip_config.json`,
`open_clip_model.safetensors`, `vocab.json` and `merges.txt`. OpenAI's own files are TorchScript
programs, which are not opened; these repositories have the same weights.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file as load_tensors

from synood.errors import CheckpointError, InputError
from synood.files import read_json
from synood.images.presets import PREPROCESS, Preprocess
from synood.models.checkpoints import first_file, load_file
from synood.models.contexts import ContextTowerEncoder
from synood.models.precision import chosen_dtype
from synood.models.resnet_towers import ResNetClip, Sizes
from synood.models.tokens import load_tokenizer, padded

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

CONFIG = "open_clip_config.json"
WEIGHTS = ("open_clip_model.safetensors", "model.safetensors")
_UNUSED = ("input_resolution", "context_length", "vocab_size", "attn_mask", "num_batches_tracked")


class ResNetClipEncoder(ContextTowerEncoder):
    """CLIP with a ResNet image tower, from a directory or a hub id.

    >>> ResNetClipEncoder.from_pretrained("timm/resnet50_clip.openai").dim  # doctest: +SKIP
    1024
    """

    @classmethod
    def from_pretrained(
        cls,
        path_or_id: str | Path,
        device: str = "cpu",
        dtype: str | torch.dtype = "float32",
        revision: str | None = None,
    ) -> ResNetClipEncoder:
        """Load weights, vocabulary and preprocessing; `dtype` as for `ClipEncoder`.

        Raises `CheckpointError` when a file is missing or the weights are of another model. Without
        a configuration, activation and preprocessing are OpenAI's.
        """
        config = _configuration(path_or_id, revision)
        tensors = _tensors(path_or_id, revision)
        model = _model_from(tensors, bool(config["model_cfg"].get("quick_gelu", False)), path_or_id)
        model = model.to(device=device, dtype=chosen_dtype(dtype, device))
        sizes = Sizes.of(tensors)
        preprocess = open_clip_preprocess(
            config.get("preprocess_cfg", {}), sizes.image_size, path_or_id
        )
        tokenizer = load_tokenizer(path_or_id, sizes.vocabulary, revision=revision)
        encoder = cls(model, tokenizer, sizes.context, preprocess, path_or_id, revision)
        encoder.dim, encoder.image_size = sizes.dim, sizes.image_size
        encoder.logit_scale = float(tensors["logit_scale"].float().exp())
        return encoder

    def _image_features(self, inputs: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = self._model.visual(inputs)
        return features

    def _token_embedding(self) -> torch.nn.Embedding:
        embedding: torch.nn.Embedding = self._model.token_embedding
        return embedding

    def _patch_features(self, inputs: torch.Tensor) -> torch.Tensor:
        local: torch.Tensor = self._model.visual.local(inputs)
        return local

    def _text_features(self, rows: Sequence[Sequence[int]]) -> torch.Tensor:
        longest = max(len(row) for row in rows)
        ids, mask = padded(rows, longest, self._tokenizer.pad_token_id)
        ends = mask.sum(1) - 1
        features: torch.Tensor = self._model.text_features(
            ids.to(self.device), ends.to(self.device)
        )
        return features


def _configuration(source: str | Path, revision: str | None) -> dict[str, Any]:
    path = first_file(source, (CONFIG,), revision)
    if path is None:
        return {"model_cfg": {"quick_gelu": True}}
    config: dict[str, Any] = read_json(path)
    return {"model_cfg": {}, **config}


def _tensors(source: str | Path, revision: str | None) -> dict[str, torch.Tensor]:
    """Read the weights, without other tensors and the prefix of OpenCLIP's other layout."""
    path = first_file(source, WEIGHTS[:1], revision) or load_file(source, WEIGHTS[1], revision)
    try:
        tensors = load_tensors(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{source}/{path.name}: not readable ({error})") from None
    return {
        name.removeprefix("text."): value
        for name, value in tensors.items()
        if not name.endswith(_UNUSED)
    }


def _model_from(tensors: Mapping[str, torch.Tensor], quick: bool, source: str | Path) -> ResNetClip:
    try:
        with torch.device("meta"):
            model = ResNetClip(Sizes.of(tensors), quick)
        model.load_state_dict({**_counters(model), **tensors}, assign=True)
    except KeyError as error:
        raise CheckpointError(
            f"{source}: the tensor {error} is missing; this is no CLIP with a ResNet"
        ) from None
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(
            f"{source}: not the tensors of a CLIP with a ResNet ({reason})"
        ) from None
    return model.float().requires_grad_(False).eval()


def _counters(model: ResNetClip) -> dict[str, torch.Tensor]:
    """Return the batch counters of batch norms: checkpoints lack them, and nothing reads them."""
    return {
        name: torch.zeros((), dtype=torch.long)
        for name in model.state_dict()
        if name.endswith("num_batches_tracked")
    }


def open_clip_preprocess(config: Mapping[str, Any], size: int, source: str | Path) -> Preprocess:
    """Read OpenCLIP's `preprocess_cfg`; missing fields are OpenAI's."""
    usual = PREPROCESS["clip"]
    crops = {"shortest": "center", "squash": "squash"}
    mode = config.get("resize_mode", "shortest")
    if mode not in crops:
        raise InputError(f"{source}/{CONFIG}: resize_mode {mode!r} is not one of {list(crops)}")
    return Preprocess(
        f"{source}/{CONFIG}",
        size,
        config.get("interpolation", usual.interpolation),
        "squash" if mode == "squash" else "center",
        tuple(config.get("mean", usual.mean)),
        tuple(config.get("std", usual.std)),
    )
