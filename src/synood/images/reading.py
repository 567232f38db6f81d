"""From a file to RGB pixels, and from pixels to what an encoder takes.

What is read: 8-bit RGB, with the EXIF orientation applied, transparency laid over white, 16 bits
cut to the upper 8, the first frame of an animation, CMYK and palettes converted; the kind of file
shows in its bytes, whatever its suffix says; colour profiles are left aside, as all the encoders'
training did. What is refused, each time as an `InputError` that names the file: an empty, damaged
or cut-off file, another kind of file, a folder, pipe, socket or device whatever its name, more
than `MAX_PIXELS` or `MAX_BYTES`, and numbers without a fixed range.
"""

from __future__ import annotations

import io
import os
import stat
import struct
import warnings
import zlib
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, cast

import numpy as np
from PIL import Image, UnidentifiedImageError

from synood.errors import InputError
from synood.files import readable, sha256_bytes
from synood.images.places import RemotePath

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

MAX_PIXELS = 89_478_485  # 256 MiB of RGB, where Pillow begins to speak of decompression bombs
MAX_BYTES = 2**30  # more than MAX_PIXELS take uncompressed with 16 bits and transparency
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM")

# What Pillow's decoders raise on damaged files: the first three under random changes of bytes,
# the others in rarer corners of its readers.
_DAMAGE = (
    *(OSError, ValueError, SyntaxError),
    *(EOFError, LookupError, TypeError, ArithmeticError, RuntimeError, struct.error, zlib.error),
)
_ORIENTATION_TAG = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def read_image(path: Path, sha256: str | None = None) -> Image.Image:
    """Decode an image file into RGB of 8 bits; see the module for what is done and refused.

    With `sha256`, a file that no longer holds those bytes is an `InputError` as well.
    """
    data = image_bytes(path)
    if sha256 is not None and sha256_bytes(data) != sha256:
        raise InputError(f"{readable(path)}: its content has changed since the run chose it")
    return decode(data, path)


def decode(data: bytes, path: Path) -> Image.Image:
    """Decode the bytes of an image file; `path` is for what errors say."""
    name = readable(path)
    with _header(io.BytesIO(data), len(data), name) as image:
        image.load()
        return _upright(_to_rgb(image, name), image)


def image_size(path: Path) -> tuple[int, int]:
    """Return (width, height) as stored, from the file's header alone; refuses as `read_image`."""
    with _opened(path) as (file, size), _header(file, size, readable(path)) as image:
        return image.size


def image_bytes(path: Path) -> bytes:
    """Read a file that may be an image: a plain file of at most `MAX_BYTES`; never waits."""
    with _opened(path) as (file, _):
        return file.read()


@contextmanager
def _opened(path: Path) -> Iterator[tuple[BinaryIO, int]]:
    """Yield a plain file and its size. What would block or never end is refused."""
    name = readable(path)
    try:
        if isinstance(path, RemotePath):
            with path.open() as file:
                yield file, _bounded(path.stat().st_size, name)
            return
        # O_NONBLOCK (not on Windows): a named pipe would keep us until somebody writes to it.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            os.close(descriptor)
            raise InputError(f"{name}: cannot be read (not a plain file)")
        with os.fdopen(descriptor, "rb") as file:
            yield file, _bounded(status.st_size, name)
    except OSError as error:
        raise InputError(f"{name}: cannot be read ({error.strerror or error})") from None


def _bounded(size: int, name: str) -> int:
    if size > MAX_BYTES:
        raise InputError(f"{name}: {size} bytes, more than {MAX_BYTES}; shrink it")
    return size


@contextmanager
def _header(file: BinaryIO, size: int, name: str) -> Iterator[Image.Image]:
    """Yield the opened image; what goes wrong in the block is the file's damage."""
    try:
        # Pillow warns of odd metadata, which do not matter here, and of sizes, refused below.
        with warnings.catch_warnings(action="ignore"), Image.open(file, formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise _too_large(name, f"{image.width} x {image.height}")
            yield image
    except UnidentifiedImageError:
        if size == 0:
            raise InputError(f"{name}: the file is empty (0 bytes)") from None
        kinds = ", ".join(FORMATS)
        raise InputError(f"{name}: not an image, or of a kind not read here ({kinds})") from None
    except Image.DecompressionBombError:
        raise _too_large(name, f"over {2 * MAX_PIXELS}") from None
    except InputError:
        raise
    except _DAMAGE as error:
        raise InputError(f"{name}: the image is damaged or cut off ({error})") from None


def _too_large(name: str, found: str) -> InputError:
    return InputError(f"{name}: {found} pixels are more than the limit of {MAX_PIXELS}; shrink it")


def _to_rgb(image: Image.Image, name: str) -> Image.Image:
    """Convert any mode that the formats know; the caller has loaded the pixels."""
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM"):
        # The upper byte, which is what Pillow itself keeps of 16-bit colour.
        high = np.asarray(image).astype(np.int64).clip(0, 65535) >> 8
        return Image.fromarray(high.astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        raise InputError(f"{name}: its numbers have no fixed range; save it with 8 or 16 bits")
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _upright(rgb: Image.Image, source: Image.Image) -> Image.Image:
    """Turn `rgb` as the EXIF data of `source` say; unreadable EXIF data count as none."""
    try:
        turn = _TURNS.get(source.getexif().get(_ORIENTATION_TAG, 1))
    except _DAMAGE:
        turn = None
    return rgb if turn is None else rgb.transpose(turn)


_CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
_CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
_LONGEST = 8  # sides; a strip of one pixel must not become gigabytes when it is resized
_FILTERS = {filter_.name.lower(): filter_ for filter_ in Image.Resampling}


@dataclass(frozen=True)
class Preprocess:
    """Resize, crop and normalise: what an image encoder was trained with.

    The shorter side becomes `resize` (`size` when None) and the middle `size` x `size` is cut out:
    with `crop` "center" at the place of torchvision, with "center_floor" at that of transformers,
    half a pixel further up and left where the margin is odd. "squash" takes the whole image
    without regard to its shape. `interpolation` is a filter of Pillow, by name; `mean` and `std`
    are for red, green, blue in [0, 1].

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

    def _resized(self, image: Image.Image) -> Image.Image:
        """Return the image at `size` x `size`."""
        square, filter_ = (self.size, self.size), _FILTERS[self.interpolation]
        if self.crop == "squash":
            return image.resize(square, filter_)
        edge, short = self.resize or self.size, min(image.size)
        width, height = (int(edge * side / short) for side in image.size)
        left, top = (self._start(side - self.size) for side in (width, height))
        right, bottom = left + self.size, top + self.size
        if max(width, height) <= _LONGEST * edge:
            return image.resize((width, height), filter_).crop((left, top, right, bottom))
        # The same crop without the rest in memory; not always, since Pillow then goes over rows
        # and columns in another order, which shifts rounded pixels.
        x, y = image.width / width, image.height / height
        box = (left * x, top * y, min(right * x, image.width), min(bottom * y, image.height))
        return image.resize(square, filter_, box=box)

    def _start(self, margin: int) -> int:
        return margin // 2 if self.crop == "center_floor" else round(margin / 2)


PREPROCESS = {
    # OpenAI's CLIP, clip/clip.py, _transform; also what SynOOD's released code uses.
    "clip": Preprocess("clip", 224, "bicubic", "center", _CLIP_MEAN, _CLIP_STD),
    # NegLabel, mmcls/datasets/ood_dataset.py:34 at 3253db6: bilinear is torchvision's default.
    "neglabel": Preprocess("neglabel", 224, "bilinear", "center", _CLIP_MEAN, _CLIP_STD),
    # OpenOOD-VLM, configs/datasets/imagenet/imagenet_traditional_four_ood.yml at 4d888ff.
    "openood": Preprocess("openood", 224, "bicubic", "center", _CLIP_MEAN, _CLIP_STD, resize=256),
}


def from_processor_config(
    config: Mapping[str, Any], source: str = "preprocessor_config.json"
) -> Preprocess:
    """Read the `preprocessor_config.json` of a CLIP-like checkpoint, old or new layout.

    `source` names the file in errors. Raises `InputError` for a field that is missing and for
    steps that a `Preprocess` does not know: padding, other rescaling, results that are not square.
    """
    for step in ("do_resize", "do_rescale", "do_normalize"):
        if config.get(step, True) is not True:
            raise InputError(f"{source}: {step} {config[step]!r} is not supported")
    if config.get("do_pad") or abs(config.get("rescale_factor", 1 / 255) * 255 - 1) > 1e-6:
        raise InputError(f"{source}: padding or a rescale_factor other than 1/255 is not supported")
    try:
        resample = Image.Resampling(config.get("resample", Image.Resampling.BICUBIC))
        mean, std = tuple(config["image_mean"]), tuple(config["image_std"])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{source}: image_mean, image_std or resample is wrong ({error})"
        ) from None
    resize, size = _geometry(config, source)
    return Preprocess(
        source,
        size,
        resample.name.lower(),
        "squash" if resize is None else "center_floor",
        mean,
        std,
        resize,
    )


def _geometry(config: Mapping[str, Any], source: str) -> tuple[int | None, int]:
    """Return (shorter side before the crop, side after it); no shorter side = squashed."""
    size, crop = config.get("size"), config.get("crop_size")
    if not config.get("do_center_crop", crop is not None):
        return None, _square(size, "size", source)
    shortest = size.get("shortest_edge") if isinstance(size, Mapping) else size
    if not isinstance(shortest, int):
        raise InputError(f"{source}: size {size!r} beside a crop needs a shortest_edge")
    return shortest, _square(crop, "crop_size", source)


def _square(value: object, field: str, source: str) -> int:
    sides = [value, value]
    if isinstance(value, Mapping):
        sides = [value.get("height"), value.get("width")]
    if not isinstance(sides[0], int) or sides[0] != sides[1]:
        raise InputError(f"{source}: {field} {value!r} is not a square of whole pixels")
    return sides[0]
