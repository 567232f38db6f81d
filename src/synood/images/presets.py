"""Preprocessing: from RGB pixels to what an image encoder takes, by the name of a preset."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
from PIL import Image

from synood.errors import InputError
from synood.images.decoding import MAX_PIXELS
from synood.images.reading import UPRIGHT, Reading

if TYPE_CHECKING:
    from numpy.typing import NDArray

_CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
_CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
_ROOM = 2  # pixels that a reduced JPEG keeps for each one that the resizing makes of them
_FILTERS = {filter_.name.lower(): filter_ for filter_ in Image.Resampling}


@dataclass(frozen=True)
class Preprocess:
    """Resize, crop and normalise: what an image encoder was trained with.

    The shorter side becomes `resize` (`size` when None) and the middle `size` x `size` is cut out:
    with `crop` "center" as torchvision does it, with "center_floor" as transformers does it,
    half a pixel further up and left where the margin is odd. With "squash" both sides become
    `resize` whatever the image's shape, before the middle is cut out. `interpolation` is a filter
    of Pillow, by name; `mean` and `std` are for red, green, blue in [0, 1]. Pixels are bit for bit
    those of torchvision and transformers on the same Pillow, but for strips that resize to more
    than `MAX_PIXELS` (over 1,700:1 for 224). `plain` is whether files are read as published
    benchmarks do, `fast` whether large JPEGs are decoded at a reduced size (`reading`).

    >>> PREPROCESS["clip"].apply(Image.new("RGB", (640, 480))).shape
    (3, 224, 224)
    """

    name: str
    size: int
    interpolation: str
    crop: Literal["center", "center_floor", "squash"]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resize: int | None = None
    plain: bool = field(default=False, repr=False)
    fast: bool = field(default=False, repr=False)

    def __post_init__(self) -> None:
        if self.interpolation not in _FILTERS:
            raise InputError(
                f"preprocess {self.name!r}: interpolation {self.interpolation!r} is not one of "
                + ", ".join(_FILTERS)
            )
        if self.size < 1 or (self.resize or self.size) < self.size:
            raise InputError(
                f"preprocess {self.name!r}: cannot cut {self.size} pixels out of {self.resize}"
            )
        if (self.resize or self.size) ** 2 > MAX_PIXELS:
            raise InputError(f"preprocess {self.name!r}: {self.resize or self.size} is too large")

    @property
    def reading(self) -> Reading:
        """How files are read for these steps: reduced JPEGs keep twice the side that is needed."""
        return Reading(self.plain, _ROOM * (self.resize or self.size) if self.fast else 0)

    def pixels(self, image: Image.Image) -> NDArray[np.float32]:
        """Return (3, size, size) float32 in [0, 1], not normalised."""
        small = self._resized(image.convert("RGB"))
        array = np.asarray(small, dtype=np.float32) / np.float32(255)
        return np.ascontiguousarray(array.transpose(2, 0, 1))

    def apply(self, image: Image.Image) -> NDArray[np.float32]:
        """Return (3, size, size) float32, normalised."""
        mean, std = (
            np.asarray(values, dtype=np.float32)[:, None, None] for values in (self.mean, self.std)
        )
        return cast("NDArray[np.float32]", (self.pixels(image) - mean) / std)

    def shrunk(self, image: Image.Image) -> Image.Image:
        """Return an image that is no larger and has the same `pixels`, to the last bit.

        It is resized and not yet cut, so that resizing it once more changes nothing.
        """
        size = self._size_before_crop(image)
        if size[0] * size[1] >= image.width * image.height:
            return image
        return image.convert("RGB").resize(size, _FILTERS[self.interpolation])

    def _size_before_crop(self, image: Image.Image) -> tuple[int, int]:
        edge, short = self.resize or self.size, min(image.size)
        if self.crop == "squash":
            return edge, edge
        return int(edge * image.width / short), int(edge * image.height / short)

    def _resized(self, image: Image.Image) -> Image.Image:
        """Return the image at `size` x `size`."""
        square, filter_ = (self.size, self.size), _FILTERS[self.interpolation]
        width, height = self._size_before_crop(image)
        if self.crop == "squash":
            start = (width - self.size) // 2
            end = start + self.size
            return image.resize((width, height), filter_).crop((start, start, end, end))
        left, top = (self._start(side - self.size) for side in (width, height))
        right, bottom = left + self.size, top + self.size
        if width * height <= MAX_PIXELS:
            return image.resize((width, height), filter_).crop((left, top, right, bottom))
        # A strip of one pixel must not become gigabytes, so only the crop is made. Not always: for
        # a crop Pillow may go over rows and columns in another order than for the whole, and as it
        # rounds in between, pixels differ by some grey levels.
        x, y = image.width / width, image.height / height
        box = (left * x, top * y, min(right * x, image.width), min(bottom * y, image.height))
        return image.resize(square, filter_, box=box)

    def _start(self, margin: int) -> int:
        return margin // 2 if self.crop == "center_floor" else round(margin / 2)


_PLAIN = (
    # OpenAI's CLIP, clip/clip.py, _transform; also what SynOOD's released code uses.
    Preprocess("clip", 224, "bicubic", "center", _CLIP_MEAN, _CLIP_STD, plain=True),
    # NegLabel, mmcls/datasets/ood_dataset.py:34 at 3253db6: bilinear is torchvision's default.
    Preprocess("neglabel", 224, "bilinear", "center", _CLIP_MEAN, _CLIP_STD, plain=True),
    # OpenOOD-VLM, configs/datasets/imagenet/imagenet_traditional_four_ood.yml at 4d888ff.
    Preprocess("openood", 224, "bicubic", "center", _CLIP_MEAN, _CLIP_STD, 256, plain=True),
)
# The code that they are named after reads `Image.open(path).convert("RGB")` (OpenOOD,
# imglist_dataset.py:83; torchvision's pil_loader). "-upright" reads files as the rest of synood.
_UPRIGHT = tuple(replace(one, name=f"{one.name}-upright", plain=False) for one in _PLAIN)
PREPROCESS = {preset.name: preset for preset in (*_PLAIN, *_UPRIGHT)}


def reading_of(encoder: object) -> Reading:
    """Return how files are read for an encoder: as its preprocessing asks, upright by default."""
    found = getattr(getattr(encoder, "preprocess", encoder), "reading", UPRIGHT)
    return found if isinstance(found, Reading) else UPRIGHT


def from_processor_config(
    config: Mapping[str, Any], source: str = "preprocessor_config.json"
) -> Preprocess:
    """Read the `preprocessor_config.json` of an image encoder, old or new layout.

    `source` names the file in errors. Raises `InputError` for a field that is missing and for
    steps that a `Preprocess` does not know: padding, other orders of the colours, results that are
    not square.
    """
    for step in ("do_resize", "do_rescale"):
        if config.get(step, True) is not True:
            raise InputError(f"{source}: {step} {config[step]!r} is not supported")
    for step in ("do_pad", "do_flip_channel_order"):
        if config.get(step):
            raise InputError(f"{source}: {step} is not supported")
    try:
        resample = Image.Resampling(config.get("resample", Image.Resampling.BICUBIC))
        mean, std = _normalisation(config)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{source}: image_mean, image_std, rescale_factor or resample is wrong ({error})"
        ) from None
    resize, size, squash = _geometry(config, source)
    return Preprocess(
        source,
        size,
        resample.name.lower(),
        "squash" if squash else "center_floor",
        mean,
        std,
        resize,
    )


def _normalisation(config: Mapping[str, Any]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and deviation of colours in [0, 1].

    Values of bytes times `rescale_factor`, less 1 with `rescale_offset`, are what `image_mean` and
    `image_std` are of; a file without normalisation leaves them as they are, and `include_top` is
    EfficientNet's second division by `image_std`.
    """
    mean, std = (0.0,) * 3, (1.0,) * 3
    if config.get("do_normalize", True):
        mean, std = tuple(config["image_mean"]), tuple(config["image_std"])
    if config.get("include_top"):
        std = tuple(a * b for a, b in zip(std, config["image_std"], strict=True))
    if len(mean) != 3 or len(std) != 3 or min(std) <= 0:
        raise ValueError("need three colours, and deviations above 0")
    factor = config.get("rescale_factor", 1 / 255) * 255
    offset = 1.0 if config.get("rescale_offset") else 0.0
    if not factor > 0:
        raise ValueError("rescale_factor must be above 0")
    if abs(factor - 1) < 1e-6 and not offset:
        return mean, std
    return tuple((one + offset) / factor for one in mean), tuple(one / factor for one in std)


def _geometry(config: Mapping[str, Any], source: str) -> tuple[int | None, int, bool]:
    """Return the side before the crop, the side after it, and whether images are squashed.

    A `crop_pct` is ConvNeXT's rule: below 384 the shorter side becomes `size` / `crop_pct`.
    """
    size, crop = config.get("size"), config.get("crop_size")
    shortest = size.get("shortest_edge") if isinstance(size, Mapping) else size
    if fraction := config.get("crop_pct"):
        edge = _whole(shortest, "size", source)
        if config.get("do_center_crop") and _square(crop, "crop_size", source) != edge:
            raise InputError(f"{source}: a second crop, to {crop!r}, is not supported")
        return (None, edge, True) if edge >= 384 else (int(edge / fraction), edge, False)
    if not config.get("do_center_crop", crop is not None):
        return None, _square(size, "size", source), True
    cut = _square(crop, "crop_size", source)
    if isinstance(size, Mapping) and "height" in size:
        return _square(size, "size", source), cut, True
    if not isinstance(shortest, int):
        raise InputError(f"{source}: size {size!r} beside a crop needs a shortest_edge")
    return shortest, cut, False


def _square(value: object, field: str, source: str) -> int:
    sides = [value, value]
    if isinstance(value, Mapping):
        sides = [value.get("height"), value.get("width")]
    if not isinstance(sides[0], int) or sides[0] != sides[1]:
        raise InputError(f"{source}: {field} {value!r} is not a square of whole pixels")
    return sides[0]


def _whole(value: object, field: str, source: str) -> int:
    if not isinstance(value, int):
        raise InputError(f"{source}: {field} {value!r} needs a shortest_edge")
    return value
