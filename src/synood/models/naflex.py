"""SigLIP 2 NaFlex through transformers: images keep their aspect ratio, as patches and a mask.

Tschannen et al., "SigLIP 2", 2025, section 2.4.2. An image is resized so that its sides are whole
patches, at most `max_patches` together, and its position embeddings are resized to that grid.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image

from synood.errors import CheckpointError, InputError
from synood.models._pixels import PixelPreprocess
from synood.models.image_processors import read_processor
from synood.models.siglip import padded_fully
from synood.models.tokens import siglip_tokenizer
from synood.models.towers import TextTower, batches, tensor_filter
from synood.models.transformers_encoder import checked_family, load_family

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

CLOSE = 1e-5  # the authors' precision of the scale
LARGEST = 100.0  # the scale that the search for it begins with
MOST_PATCHES = 16_384  # attention over more takes gigabytes


@dataclass(frozen=True)
class Patches:
    """From an image to the patches of a NaFlex tower; the fields are of its image processor."""

    patch_size: int
    max_patches: int
    interpolation: str
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def from_config(cls, config: Mapping[str, Any], source: str, most: int | None) -> Patches:
        """Read an image processor's settings; `most` patches replace its number.

        An `InputError` names a field that is wrong.
        """
        wanted = config.get("max_num_patches", 256) if most is None else most
        if type(wanted) is not int or not 1 <= wanted <= MOST_PATCHES:
            raise InputError(
                f"{source}: max_num_patches must be from 1 to {MOST_PATCHES:,}, not {wanted!r}"
            )
        try:
            return cls(
                int(config.get("patch_size", 16)),
                wanted,
                Image.Resampling(config["resample"]).name.lower(),
                tuple(config["image_mean"]),
                tuple(config["image_std"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"{source}: image_mean, image_std, patch_size or resample is wrong ({error})"
            ) from None

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """Return rows and columns of patches for an image: the largest scale that fits.

        >>> Patches(16, 256, "bilinear", (0.5,) * 3, (0.5,) * 3).grid(480, 640)
        (14, 18)
        """
        smallest, largest = CLOSE / 10, LARGEST
        while largest - smallest >= CLOSE:
            middle = (smallest + largest) / 2
            rows, columns = (self._patches(side * middle) for side in (height, width))
            fits = rows * columns <= self.max_patches
            smallest, largest = (middle, largest) if fits else (smallest, middle)
        return self._patches(height * smallest), self._patches(width * smallest)

    def _patches(self, side: float) -> int:
        return max(1, math.ceil(side / self.patch_size))

    def apply(self, image: Image.Image) -> tuple[NDArray[np.float32], tuple[int, int]]:
        """Return the patches (L, 3 * patch_size ** 2) of an image, and their rows and columns."""
        rows, columns = self.grid(image.height, image.width)
        size = columns * self.patch_size, rows * self.patch_size
        small = image.convert("RGB").resize(size, Image.Resampling[self.interpolation.upper()])
        array = np.asarray(small, dtype=np.float32) / np.float32(255)
        mean, std = (np.asarray(values, np.float32) for values in (self.mean, self.std))
        tensor = torch.from_numpy((array - mean) / std).permute(2, 0, 1)
        return self.cut(tensor[None])[0].numpy(), (rows, columns)

    def cut(self, pixels: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) -> (N, L, 3 * patch_size ** 2), row by row, colours last."""
        side = self.patch_size
        count, colours, height, width = pixels.shape
        parts = pixels.reshape(count, colours, height // side, side, width // side, side)
        return parts.permute(0, 2, 4, 3, 5, 1).reshape(count, -1, side * side * colours)


class NaFlexEncoder(TextTower):
    """Any Siglip2Model that transformers loads; see `models.clip.ImageTextEncoder`.

    >>> NaFlexEncoder.from_pretrained("google/siglip2-base-patch16-naflex").dim  # doctest: +SKIP
    768
    """

    def __init__(
        self,
        model: Any,  # noqa: ANN401 - transformers is untyped here
        tokenizer: Any,  # noqa: ANN401
        patches: Patches,
        source: str | Path,
        revision: str | None = None,
    ) -> None:
        super().__init__(model, source, revision)
        text, vision = model.config.text_config, model.config.vision_config
        self._tokenizer, self._context = tokenizer, text.max_position_embeddings
        self._patches = patches
        self.dim: int = vision.hidden_size
        self.logit_scale: float = model.logit_scale.float().exp().item()
        self.logit_bias: float = model.logit_bias.float().item()
        self.image_size: int = math.isqrt(patches.max_patches) * patches.patch_size

    @classmethod
    def from_pretrained(
        cls,
        path_or_id: str | Path,
        device: str = "cpu",
        dtype: str | torch.dtype = "float32",
        revision: str | None = None,
        max_num_patches: int | None = None,
    ) -> NaFlexEncoder:
        """Load weights, vocabulary and preprocessing; `dtype` as for `ClipEncoder`.

        `max_num_patches` replaces the number of the checkpoint's image processor: more see smaller
        things. Raises `CheckpointError` when a file is missing or the weights are incomplete.
        """
        where: dict[str, Any] = {"source": path_or_id, "revision": revision}
        family, config = checked_family(**where), read_processor(**where)
        patches = Patches.from_config(config, f"{path_or_id}", max_num_patches)
        tokenizer = siglip_tokenizer(**where)
        model = load_family(family, tokenizer, device=device, dtype=dtype, **where)
        side = model.config.vision_config.patch_size
        if side != patches.patch_size:
            raise CheckpointError(
                f"{path_or_id}: its image processor cuts patches of {patches.patch_size} pixels "
                f"and the image tower takes {side}; they are of different models"
            )
        return cls(model, tokenizer, patches, path_or_id, revision)

    def _steps(self) -> dict[str, Any]:
        return asdict(self._patches)

    @torch.no_grad()
    def encode_images(
        self, images: Sequence[Image.Image], batch_size: int = 64
    ) -> NDArray[np.float32]:
        """Encode RGB images of any size into (N, D) float32, not normalised."""
        features = np.empty((len(images), self.dim), np.float32)
        width = 3 * self._patches.patch_size**2
        for rows in batches(len(images), batch_size):
            padded = np.zeros((len(rows), self._patches.max_patches, width), np.float32)
            grids = []
            for place, row in enumerate(rows):
                patches, grid = self._patches.apply(images[row])
                padded[place, : len(patches)] = patches
                grids.append(grid)
            features[rows] = self._embedded(torch.from_numpy(padded), grids).cpu().numpy()
        return features

    def encode_pixels(self, pixels: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) in [0, 1] -> (N, D) float32 on the encoder's device, differentiable."""
        rows, columns = self._patches.grid(*pixels.shape[2:])
        side = self._patches.patch_size
        steps = PixelPreprocess(
            (rows * side, columns * side),
            None,
            tensor_filter(self._patches.interpolation, self.name),
            self._patches.mean,
            self._patches.std,
        )
        patches = self._patches.cut(steps(pixels.to(self.device)))
        room = self._patches.max_patches - patches.shape[1]
        padded = torch.nn.functional.pad(patches, (0, 0, 0, room))
        return self._embedded(padded, [(rows, columns)] * len(pixels))

    def _embedded(self, patches: torch.Tensor, grids: Sequence[tuple[int, int]]) -> torch.Tensor:
        """Patches (N, L, P), padded, and the rows and columns of each image -> (N, D)."""
        shapes = torch.tensor(grids, device=self.device)
        places = torch.arange(patches.shape[1], device=self.device)
        features: torch.Tensor = self._model.get_image_features(
            pixel_values=patches.to(device=self.device, dtype=self._dtype),
            pixel_attention_mask=(places < shapes.prod(dim=1, keepdim=True)).int(),
            spatial_shapes=shapes,
        ).pooler_output
        return features.float()

    def _text_features(self, rows: Sequence[Sequence[int]]) -> torch.Tensor:
        ids = padded_fully(self._tokenizer, rows, self._context).to(self.device)
        features: torch.Tensor = self._model.get_text_features(input_ids=ids).pooler_output
        return features
