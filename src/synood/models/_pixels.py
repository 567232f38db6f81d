"""Resize, crop and normalise of an image checkpoint, on tensors, so that gradients pass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from synood.errors import InputError

_FILTERS = {0: "nearest-exact", 2: "bilinear", 3: "bicubic"}  # Pillow's numbers, as files hold them


@dataclass(frozen=True)
class PixelPreprocess:
    """Resize, centre crop and normalise of a checkpoint, on tensors and differentiable.

    For 8-bit images the result equals that of the checkpoint's own processor through Pillow, except
    for one grey level in a few pixels, and half a level on average where Pillow (from 13 on, in
    some tall images whose aspect ratio changes) resizes the columns first.

    `resize` is the length of the shorter side, or (height, width) whatever the aspect ratio; `crop`
    is (height, width) or None.

    >>> import torch
    >>> steps = PixelPreprocess(8, (6, 6), "bilinear", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    >>> tuple(steps(torch.zeros(1, 3, 16, 32)).shape)
    (1, 3, 6, 6)
    """

    resize: int | tuple[int, int] | None
    crop: tuple[int, int] | None
    interpolation: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    as_pillow: bool = True  # rows, then columns, each rounded to bytes; else at once and exactly

    def __call__(self, pixels: Tensor) -> Tensor:
        """(N, 3, H, W) in [0, 1] -> (N, 3, h, w), normalised."""
        pixels = self._resized(pixels)
        if self.crop is not None:
            top, left = (
                (size - want) // 2 for size, want in zip(pixels.shape[2:], self.crop, strict=True)
            )
            pixels = pixels[:, :, top : top + self.crop[0], left : left + self.crop[1]]
        mean, std = (
            pixels.new_tensor(values).view(1, -1, 1, 1) for values in (self.mean, self.std)
        )
        return (pixels - mean) / std

    def _resized(self, pixels: Tensor) -> Tensor:
        height, width = pixels.shape[2:]
        if self.resize is None:
            return pixels
        if isinstance(self.resize, int):
            short, long = sorted((height, width))
            longer = int(self.resize * long / short)
            size = (self.resize, longer) if height <= width else (longer, self.resize)
        else:
            size = self.resize
        if size == (height, width):
            return pixels
        if self.interpolation not in ("bilinear", "bicubic"):
            return F.interpolate(pixels, size, mode=self.interpolation)
        if not self.as_pillow:
            return F.interpolate(pixels, size, mode=self.interpolation, antialias=True)
        # Pillow resizes rows, then columns, and rounds to bytes after each; so does this. Its
        # filters widen when an image shrinks, which torch calls "antialias".
        for step in ((height, size[1]), size):
            pixels = F.interpolate(pixels, step, mode=self.interpolation, antialias=True)
            pixels = _as_bytes(pixels)
        return pixels


# torchvision's IMAGENET1K_V2 weights of ResNet-50, whose transform of a tensor rounds nothing
TORCHVISION = PixelPreprocess(
    232, (224, 224), "bilinear", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), as_pillow=False
)


def _as_bytes(pixels: Tensor) -> Tensor:
    """Round to the 256 levels of a byte; the gradient is that of clamping to [0, 1]."""
    inside = pixels.clamp(0, 1)
    return inside + ((inside * 255).round() / 255 - inside).detach()


def preprocess_from_config(config: Mapping[str, Any], source: str) -> PixelPreprocess:
    """Read a `preprocessor_config.json`: the ConvNeXT rule (also of ResNet) or the plain one.

    `source` names the file in errors. Unsupported steps (padding, a rescale offset, EfficientNet's
    second normalisation) are an `InputError`.

    >>> preprocess_from_config({"size": {"height": 8, "width": 8}, "resample": 2,
    ...     "image_mean": [0.5] * 3, "image_std": [0.5] * 3}, "preprocessor_config.json").resize
    (8, 8)
    """
    kind = str(config.get("image_processor_type", config.get("feature_extractor_type", "")))
    for key in ("do_pad", "rescale_offset", "include_top"):
        if config.get(key):
            raise InputError(f"{source}: `{key}` is not supported; use another classifier")
    convnext = "ConvNext" in kind or "crop_pct" in config
    resize, crop = _convnext_geometry(config, source) if convnext else _geometry(config, source)
    if isinstance(resize, int) and crop is not None and max(crop) > resize:
        raise InputError(f"{source}: crops {crop} out of images resized to {resize}")
    number = config.get("resample", 3 if convnext else 2)
    if number not in _FILTERS:
        raise InputError(f"{source}: resample {number!r} is not one of {sorted(_FILTERS)}")
    mean: tuple[float, ...] = (0.0,) * 3
    std: tuple[float, ...] = (1.0,) * 3
    if config.get("do_normalize", True):
        mean, std = (_three_numbers(config, key, source) for key in ("image_mean", "image_std"))
    return PixelPreprocess(resize, crop, _FILTERS[number], mean, std)


def _three_numbers(config: Mapping[str, Any], key: str, source: str) -> tuple[float, ...]:
    values = config.get(key)
    if not isinstance(values, list) or len(values) != 3:
        raise InputError(f"{source}: `{key}` should be a list of three numbers, not {values!r}")
    return tuple(float(value) for value in values)


def _convnext_geometry(
    config: Mapping[str, Any], source: str
) -> tuple[int | tuple[int, int], tuple[int, int] | None]:
    """ConvNeXT: below 384 resize to size / crop_pct and crop, from 384 on squash."""
    size = config.get("size")
    edge = size.get("shortest_edge") if isinstance(size, Mapping) else size
    if not isinstance(edge, int):
        raise InputError(f"{source}: `size` has no shortest_edge")
    if edge >= 384:
        return (edge, edge), None
    return int(edge / config.get("crop_pct", 224 / 256)), (edge, edge)


def _geometry(
    config: Mapping[str, Any], source: str
) -> tuple[int | tuple[int, int] | None, tuple[int, int] | None]:
    crop = _height_width(config.get("crop_size"), source) if config.get("do_center_crop") else None
    size = config.get("size")
    if not config.get("do_resize", True):
        return None, crop
    if isinstance(size, Mapping) and "shortest_edge" in size:
        return int(size["shortest_edge"]), crop
    if isinstance(size, int) and crop is not None:
        return size, crop  # CLIP's old files: with a crop, one number is the shorter side
    return _height_width(size, source), crop


def _height_width(size: object, source: str) -> tuple[int, int]:
    if isinstance(size, int):
        return size, size
    if isinstance(size, Mapping) and {"height", "width"} <= size.keys():
        return int(size["height"]), int(size["width"])
    raise InputError(f"{source}: size {size!r} is neither a number nor height and width")
