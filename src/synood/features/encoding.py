"""Images through a network: always as many together, and on a processor one thread to a batch.

A feature must not depend on what else is encoded, and kernels may round differently in a batch of
another size, at another place in it, or with another number of threads. So an encoder says how many
images it takes together (`together`), on a processor usually one, and torch's threads work on
batches of their own instead of sharing one. They wait for each other less, too.
"""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import chain, islice
from typing import TYPE_CHECKING, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from synood.features.ahead import ahead
from synood.features.unreadable import Unreadable, map_padded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from PIL import Image

Feature: TypeAlias = NDArray[np.float32]
"""The feature (D,) of one image as the encoder gives it: float32, not normalised."""

TOGETHER = 16  # images, on accelerators and for encoders that do not say
_LOCK = threading.Lock()
_pools: dict[tuple[int, int], ThreadPoolExecutor] = {}  # by process, since a fork has no threads


class ImageEncoder(Protocol):
    """What turns images into features: an image-text encoder, or a classifier in its place.

    With an attribute `together` it is called with so many images at a time on a processor, by
    several threads at once.
    """

    def encode_images(
        self, images: Sequence[Image.Image], batch_size: int = TOGETHER
    ) -> NDArray[np.float32]:
        """Encode RGB images of any size into (N, D)."""


def encoded(
    load: Callable[[], ImageEncoder], images: Iterable[Image.Image | Unreadable], device: str
) -> Iterator[Feature | Unreadable]:
    """Yield the feature of each image, in order; `images` may become ready one by one.

    `load` returns the encoder, which is on `device`; it is called at the first image.
    """
    rest = iter(images)
    for first in rest:
        if isinstance(first, Unreadable):
            yield first
        else:
            yield from _encoded(load(), chain([first], rest), device)


def taken_together(encoder: ImageEncoder, device: str) -> int:
    """Return how many images the encoder takes at once on a device; fewer cost as much."""
    return _own_size(encoder, device) or TOGETHER


def _own_size(encoder: ImageEncoder, device: str) -> int | None:
    """Return an encoder's `together` where it counts: on a processor, if it has one."""
    return getattr(encoder, "together", None) if device.partition(":")[0] == "cpu" else None


def _encoded(
    encoder: ImageEncoder, images: Iterator[Image.Image | Unreadable], device: str
) -> Iterator[Feature | Unreadable]:
    own = _own_size(encoder, device)
    size = own or TOGETHER
    batches = iter(lambda: [*islice(images, size)], [])
    work = partial(_batch, encoder, size)
    threads = _torch_threads() if own else 1
    if threads == 1:
        results: Iterator[list[Feature | Unreadable]] = map(work, batches)
    else:
        results = ahead(work, batches, _single_threads(threads), 2 * threads)
    yield from chain.from_iterable(results)


def _batch(
    encoder: ImageEncoder, size: int, images: Sequence[Image.Image | Unreadable]
) -> list[Feature | Unreadable]:
    """Encode a batch, padded to its size."""
    return map_padded(images, lambda batch: [*encoder.encode_images(batch, size)], size)


def _torch_threads() -> int:
    import torch

    return torch.get_num_threads()


def _single_threads(count: int) -> ThreadPoolExecutor:
    """Return as many threads, in each of which torch computes with one."""
    import torch

    key = os.getpid(), count

    def begin() -> None:
        # torch's number of threads holds for the thread that sets it, if it has asked for it
        # before, and for those that have not yet; a thread that only does that puts these back
        torch.get_num_threads()
        torch.set_num_threads(1)
        back = threading.Thread(target=torch.set_num_threads, args=(count,))
        back.start()
        back.join()

    with _LOCK:
        if key not in _pools:
            _pools.clear()
            _pools[key] = ThreadPoolExecutor(count, "synood-encode", begin)
        return _pools[key]
