"""The mini bundle's image-text encoder: an image network aligned with a frozen sentence model.

Locked-text tuning (as Zhai et al., "LiT", CVPR 2022, with the other tower locked): the text
tower is a BERT-type sentence encoder read through transformers, the image tower an
EfficientNet-Lite0 and one linear map. An image tower pretrained on ImageNet also works on
photographs, which a small CLIP trained from scratch on drawings does not.

Directory: `config.json`, `model.safetensors` (image tower, maps), `text/` (transformers layout;
word embeddings may be stored as int8 with one scale per row, which halves the file).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from synood.errors import CheckpointError, InputError
from synood.files import fingerprint, read_json, sha256_file
from synood.models.contexts import embeddings_of, replaced_embeddings, with_placeholders
from synood.models.efficientnet_lite import EfficientNetLite0

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from PIL import Image

TENSORS = "model.safetensors"
CONFIG = "config.json"
SCHEMA = 1
_MEAN, _STD = 127 / 255, 128 / 255  # of the image network: (x - 127) / 128 for bytes


class DualTowers(nn.Module):
    """The trained part: image tower, image map (1280 to D) and text map (D to D)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.tower = EfficientNetLite0()
        self.image_map = nn.Linear(self.tower.dim, dim)
        self.text_map = nn.Linear(dim, dim)
        self.log_scale = nn.Parameter(torch.tensor(3.0))
        nn.init.eye_(self.text_map.weight)
        nn.init.zeros_(self.text_map.bias)

    def image_features(self, pixels: Tensor) -> Tensor:
        """Map pixels (N, 3, S, S) in [0, 1] to features (N, D)."""
        features: Tensor = self.image_map(self.tower((pixels - _MEAN) / _STD))
        return features

    def patch_features(self, pixels: Tensor) -> Tensor:
        """Map pixels (N, 3, S, S) in [0, 1] to the features (N, L, D) of L grid cells.

        Pooling and image map are linear, so the mean over the cells is the image's feature.
        """
        cells = self.tower.cells((pixels - _MEAN) / _STD).flatten(2).transpose(1, 2)
        features: Tensor = self.image_map(cells)
        return features


class DualEncoder:
    """Encodes images and texts into a joint space; see `models.clip.ImageTextEncoder`."""

    def __init__(
        self, towers: DualTowers, text: SentenceTower, config: Mapping[str, Any], mark: str
    ) -> None:
        self._towers = towers.eval().requires_grad_(False)
        self._text = text
        self.name = str(config["name"])
        self.fingerprint = mark
        self.dim = int(config["dim"])
        self.image_size = int(config["image_size"])
        self.logit_scale = float(towers.log_scale.exp())
        self.logit_bias = 0.0
        from synood.images.presets import Preprocess

        mean, std = (_MEAN,) * 3, (_STD,) * 3
        self.preprocess = Preprocess("mini", self.image_size, "bilinear", "center", mean, std)

    @classmethod
    def from_pretrained(cls, path: str | Path, device: str = "cpu") -> DualEncoder:
        """Load from a directory; missing or unknown tensors are a `CheckpointError`."""
        from safetensors.torch import load_file

        path = Path(path)
        config = read_json(path / CONFIG)
        if config.get("schema") != SCHEMA:
            raise CheckpointError(f"{path / CONFIG}: schema {config.get('schema')} is unknown")
        towers = DualTowers(int(config["dim"]))
        state = {name: value.float() for name, value in load_file(path / TENSORS).items()}
        problems = towers.load_state_dict(state, strict=False)
        if problems.missing_keys or problems.unexpected_keys:
            raise CheckpointError(f"{path / TENSORS}: not the tensors of this encoder ({problems})")
        towers.to(device)
        mark = fingerprint([sha256_file(file) for file in _files(path)])
        return cls(towers, SentenceTower.load(path / "text", device), config, mark)

    def encode_images(self, images: Sequence[Image.Image], batch_size: int = 64) -> np.ndarray:
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
        self, images: Sequence[Image.Image], batch_size: int = 64
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
            rows: Tensor = self._towers.text_map(self._text.encode(texts, batch_size))
            return rows.cpu().numpy()

    def token_embeddings(self, text: str) -> Tensor:
        """See `models.contexts.ContextEncoder`."""
        return embeddings_of(self._text.token_rows([text])[0], self._text.word_embedding)

    def encode_with_context(self, texts: Sequence[str], contexts: Tensor) -> Tensor:
        """See `models.contexts.ContextEncoder`."""
        tower = self._text
        rows = with_placeholders(tower.token_rows(texts), texts, len(contexts), tower.limit)
        with replaced_embeddings(tower.word_embedding, contexts):
            features: Tensor = self._towers.text_map(tower.pooled(rows))
        return features


class SentenceTower:
    """A BERT-type sentence encoder: mean of the last hidden states, unit length."""

    def __init__(self, model: Any, tokenizer: Any) -> None:  # noqa: ANN401 - untyped library
        self._model = model.eval().requires_grad_(False)
        self._tokenizer = tokenizer
        self.limit = int(model.config.max_position_embeddings)

    @classmethod
    def load(cls, path: Path, device: str = "cpu") -> SentenceTower:
        """Load transformers' BertModel from `path`, whose word embeddings may be stored as int8."""
        from safetensors.torch import load_file
        from transformers import AutoTokenizer, BertConfig, BertModel

        config = BertConfig.from_pretrained(path)
        model = BertModel(config, add_pooling_layer=False)
        state = unpack_rows(load_file(path / TENSORS))
        problems = model.load_state_dict(state, strict=False)
        missing = [name for name in problems.missing_keys if "position_ids" not in name]
        if missing or problems.unexpected_keys:
            raise CheckpointError(f"{path / TENSORS}: not the tensors of this model ({problems})")
        return cls(model.to(device), AutoTokenizer.from_pretrained(path))

    @torch.inference_mode()
    def encode(self, texts: Sequence[str], batch_size: int = 256) -> Tensor:
        """Encode texts into (N, D), unit length; each batch is padded to its longest text.

        Texts are sorted by length first, since padding costs as much as words.
        """
        ids = self.token_rows(texts)
        order = sorted(range(len(ids)), key=lambda index: (len(ids[index]), index))
        result = torch.empty(len(ids), self._model.config.hidden_size, device=self._model.device)
        for start in range(0, len(order), batch_size):
            chosen = order[start : start + batch_size]
            result[chosen] = self.pooled([ids[index] for index in chosen])
        return result

    def token_rows(self, texts: Sequence[str]) -> list[list[int]]:
        """Return each text's token ids with start and end; too many are an `InputError`."""
        ids: list[list[int]] = self._tokenizer(list(texts), truncation=False)["input_ids"]
        for text, row in zip(texts, ids, strict=True):
            if len(row) > self.limit:
                raise InputError(
                    f"prompt of {len(row)} tokens ({text[:40]!r}...): the text tower takes "
                    f"{self.limit}; shorten it"
                )
        return ids

    @property
    def word_embedding(self) -> nn.Embedding:
        """The embedding layer of the text tower."""
        layer: nn.Embedding = self._model.get_input_embeddings()
        return layer

    def pooled(self, rows: list[list[int]]) -> Tensor:
        """Encode token sequences into (N, D), of unit length, differentiable."""
        length = max(len(row) for row in rows)
        device = self._model.device
        tokens = torch.tensor([row + [0] * (length - len(row)) for row in rows], device=device)
        mask = torch.tensor([[1] * len(r) + [0] * (length - len(r)) for r in rows], device=device)
        states = self._model(input_ids=tokens, attention_mask=mask).last_hidden_state
        weight = mask[..., None].to(states.dtype)
        return F.normalize((states * weight).sum(1) / weight.sum(1), dim=-1)


_ROWS = "embeddings.word_embeddings.weight"


def pack_rows(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Store word embeddings as int8 with a float16 scale per row, all else as float16."""
    packed = {name: value.half().contiguous() for name, value in state.items() if name != _ROWS}
    rows = state[_ROWS].float()
    scale = rows.abs().amax(dim=1, keepdim=True).clamp_min(1e-8).half()
    packed[f"{_ROWS}.int8"] = (rows / scale.float() * 127).round().clamp(-127, 127).to(torch.int8)
    packed[f"{_ROWS}.scale"] = scale
    return packed


def unpack_rows(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Undo `pack_rows`; other tensors become float32."""
    plain = {name: value.float() for name, value in state.items() if not name.startswith(_ROWS)}
    if f"{_ROWS}.int8" in state:
        plain[_ROWS] = state[f"{_ROWS}.int8"].float() / 127 * state[f"{_ROWS}.scale"].float()
    elif _ROWS in state:
        plain[_ROWS] = state[_ROWS].float()
    return plain


def _files(path: Path) -> list[Path]:
    return sorted(file for file in path.rglob("*") if file.is_file())
