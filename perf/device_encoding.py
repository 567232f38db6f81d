"""CLIP's images a second from JPEGs and from tensors, and which stage is the bottleneck."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

import random_painters
import torch
from device_place import Place, head, row, say, seconds_of

from synood.benchmark.speed.data import photographs
from synood.features.ahead import readers
from synood.features.encoding import TOGETHER
from synood.features.extractor import FeatureExtractor

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from PIL import Image

    from synood.models.clip import ClipEncoder

IMAGES, TOY_IMAGES = 1024, 48  # JPEGs of 500 x 375
LARGE, TOY_LARGE = 256, 64  # images in a batch from tensors, beside the package's own


def encoding(place: Place) -> None:
    """Images a second of each stage alone and of all together, as `score` has them."""
    paths = photographs(place.folder, TOY_IMAGES if place.toy else IMAGES)
    say("", "## CLIP ViT-B/16" + (", tiny" if place.toy else ""), "")
    head("", "precision", "images a second")
    stages: dict[str, float] = {}
    half = [] if torch.device(place.device).type == "cpu" else [torch.bfloat16]
    for precision in (torch.float32, *half):
        kind = str(precision).removeprefix("torch.")
        encoder = random_painters.clip(place.device, place.toy, place.folder / kind, precision)
        network = from_tensors(encoder, kind, place)
        extractor = FeatureExtractor("random", partial(_same, encoder), place.device)
        whole = rate(partial(extractor.extract, paths), len(paths), place)
        row("from JPEGs, as `score` does", kind, f"{whole:,.0f}")
        if not stages:
            stages = {
                **before_the_network(encoder, extractor, paths, place),
                "the network": network,
            }
            together = whole
    say("", bottleneck(stages, together))


def from_tensors(encoder: ClipEncoder, kind: str, place: Place) -> float:
    """Rates of the network alone; returns that in the package's own batches."""
    size, side = TOY_LARGE if place.toy else LARGE, encoder.image_size
    pixels = torch.rand(size, 3, side, side, device=place.device)
    found = {}
    for batch in (TOGETHER, size):
        found[batch] = rate(partial(_encoded, encoder, pixels, batch), size, place)
        title = f"from tensors on the device, batches of {batch}"
        row(title, kind, f"{found[batch]:,.0f}")
    return found[TOGETHER]


def before_the_network(
    encoder: ClipEncoder, extractor: FeatureExtractor, paths: Sequence[Path], place: Place
) -> dict[str, float]:
    """Rates of what is done on the processor."""
    images = _decoded(extractor, paths)
    decoding = rate(partial(_decoded, extractor, paths), len(paths), place)
    row(f"JPEGs decoded and resized, {readers()} threads", "-", f"{decoding:,.0f}")

    def arrays() -> object:
        return [encoder.preprocess.apply(image) for image in images]

    making = rate(arrays, len(images), place)
    row("resized images made arrays, 1 thread", "-", f"{making:,.0f}")
    return {"decoding": decoding, "making arrays of the resized images": making}


def bottleneck(stages: dict[str, float], together: float) -> str:
    """Say which stage is slowest, of images a second of each alone and of all together."""
    slowest = min(stages, key=lambda stage: stages[stage])
    return (
        f"In float32 the slowest stage is {slowest}, at {stages[slowest]:,.0f} images a second "
        f"alone; all together reach {together:,.0f}, {together / stages[slowest]:.2f} of it."
    )


def rate(work: Callable[[], object], images: int, place: Place) -> float:
    """Images a second, the best of up to three runs after one that does not count."""
    first = seconds_of(work, place.device)
    times = [seconds_of(work, place.device)]
    while len(times) < 3 and place.left > 10 * first:
        times.append(seconds_of(work, place.device))
    return images / min(times)


@torch.inference_mode()
def _encoded(encoder: ClipEncoder, pixels: torch.Tensor, batch: int) -> list[torch.Tensor]:
    return [encoder.encode_pixels(some) for some in torch.split(pixels, batch)]


def _decoded(extractor: FeatureExtractor, paths: Sequence[Path]) -> list[Image.Image]:
    """Read, decode and shrink as the extractor does, in as many threads."""
    with ThreadPoolExecutor(readers()) as pool:
        return [*pool.map(lambda path: extractor.decoded(path.read_bytes(), path), paths)]


def _same(encoder: ClipEncoder) -> ClipEncoder:
    return encoder
