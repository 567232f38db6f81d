"""What a user passes as images: paths, folders, opened images and arrays, one or many."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from synood.arrays import to_numpy
from synood.errors import InputError
from synood.images.reading import UPRIGHT
from synood.images.remote import as_path
from synood.images.scanning import exists

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from PIL.Image import Image

    from synood.images.reading import Reading
    from synood.images.sources import ImageIndex

    ImageInput: TypeAlias = str | Path | Image | NDArray[np.uint8]
    Images: TypeAlias = ImageInput | Iterable[ImageInput] | ImageIndex


def batches(images: Images, size: int) -> Iterator[list[ImageInput]]:
    """Yield lists of at most `size` single images; nothing is decoded, nothing is kept.

    A folder means all images below it, in sorted order.
    """
    batch: list[ImageInput] = []
    for item in _items(images):
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def as_image(item: ImageInput, *, reading: Reading = UPRIGHT) -> Image:
    """Decode a path, wrap an array (H, W, 3) or (H, W) of bytes, or take an opened image.

    `reading` is how files are read; opened images are never reduced.
    """
    from PIL import Image

    if isinstance(item, (str, Path)):
        from synood.images.decoding import read_image

        return read_image(as_path(item), reading=reading)
    if isinstance(item, Image.Image):
        from synood.images.decoding import from_opened

        return from_opened(item, reading=reading)
    array = to_numpy(item, "image array")
    fits = array.ndim in (2, 3) and array.shape[2:] in ((), (3,)) and array.size
    if array.dtype != np.uint8 or not fits:
        raise InputError(
            "image array: needs uint8 of shape (H, W, 3) or (H, W), "
            f"not {array.dtype} {array.shape}"
        )
    return Image.fromarray(array).convert("RGB")


def path_of(item: ImageInput) -> Path | None:
    """Return the path an image was given by, or None for an opened image or an array."""
    return as_path(item) if isinstance(item, (str, Path)) else None


def is_one_image(images: object) -> bool:
    """Whether `images` is a single image: a file, an opened image or an array, and no folder."""
    images = to_numpy(images, "images") if hasattr(images, "detach") else images
    path = path_of(images) if isinstance(images, (str, Path)) else None
    return _is_single(images) and not (path is not None and exists(path) and path.is_dir())


def _items(images: Any) -> Iterator[ImageInput]:  # noqa: ANN401 - see Images
    if hasattr(images, "detach"):  # a tensor: as an array, so that (3, H, W) is not three images
        images = to_numpy(images, "images")
    if _is_single(images):
        images = [images]
    elif hasattr(images, "records"):
        images = [record.path for record in images.records]
    if not isinstance(images, Iterable) or isinstance(images, bytes):
        raise InputError(
            "images: give a path, an opened image, a uint8 array or several of them, "
            f"not {type(images).__name__}"
        )
    for item in images:
        path = path_of(item)
        if path is not None and exists(path) and path.is_dir():
            from synood.images.sources import find_images

            yield from (record.path for record in find_images([path]).records)
        else:
            yield item


def _is_single(images: object) -> bool:
    from PIL import Image

    if isinstance(images, np.ndarray):
        return images.ndim in (2, 3)
    return isinstance(images, (str, Path, Image.Image))
