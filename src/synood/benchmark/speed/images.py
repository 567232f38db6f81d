"""Rows of `synood bench` about image files: decoded, encoded, cached, listed, and the first one."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from synood.benchmark.speed.data import (
    IMAGES,
    photo_encoder,
    photographs,
    row_of,
    text_detector,
)
from synood.benchmark.speed.timing import Timed, children, compare

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

COPIES = 8


def start(folder: Path, runs: int) -> list[Timed]:
    """The help, a first image's verdict and a detector from names, beside importing torch alone."""
    detector, image = text_detector(), photographs(folder)[0]
    detector.save_pretrained(folder / "detector")

    def run(*arguments: str) -> Callable[[], object]:
        command = [sys.executable, *arguments]
        return lambda: subprocess.run(command, check=True, capture_output=True)

    names = folder / "names.txt"
    names.write_text("gooseberry fool\notter\nharpsichord\n")
    made = ["--classes", str(names), "--out", str(folder / "made"), "--overwrite"]
    found = compare(
        {
            "help": run("-m", "synood", "--help"),
            "score": run("-m", "synood", "score", str(folder / "detector"), str(image)),
            "names": run("-m", "synood", "zero-shot", *made),
            "torch": run("-c", "import torch"),
        },
        runs,
        children,
    )
    torch = {"import torch": found["torch"]}
    return [
        Timed("start", "the help text", found["help"], {}),
        Timed("start", "a verdict on one new image", found["score"], torch),
        Timed("start", "a detector from new class names", found["names"], torch),
    ]


def decode(folder: Path, runs: int) -> list[Timed]:
    """From JPEG to what the encoder takes, beside Pillow alone."""
    from synood.images.decoding import read_image

    paths, steps = photographs(folder), photo_encoder().preprocess

    def pillow() -> list[Image.Image]:
        return [Image.open(path).convert("RGB") for path in paths]

    def ours() -> object:
        return [steps.pixels(steps.shrunk(read_image(path))) for path in paths]

    found = compare({"ours": ours, "Pillow, decoding alone": pillow}, runs)
    return [row_of("decode", f"{IMAGES} JPEGs of 500 x 375, resized", found)]


def encode(folder: Path, runs: int) -> list[Timed]:
    """Images that are decoded through the embedded encoder, beside the network in batches of 16."""
    import torch

    from synood.features.encoding import encoded
    from synood.images.decoding import read_image

    encoder = photo_encoder()
    images = [encoder.preprocess.shrunk(read_image(path)) for path in photographs(folder)]
    pixels = torch.from_numpy(np.stack([encoder.preprocess.pixels(image) for image in images]))

    @torch.inference_mode()
    def network() -> object:
        return [encoder.encode_pixels(pixels[i : i + 16]) for i in range(0, IMAGES, 16)]

    found = compare(
        {
            "ours": lambda: [*encoded(lambda: encoder, images, "cpu")],
            "the network, batches of 16": network,
        },
        runs,
    )
    return [row_of("encode", f"{IMAGES} images, bundle photo", found)]


def folder(folder: Path, runs: int) -> list[Timed]:
    """`OODDetector.score` of a folder, beside decoding and encoding in a plain loop."""
    from synood.images.decoding import read_image

    detector, paths = text_detector(), photographs(folder)
    encoder = detector.backbone.load()

    def plain() -> object:
        return [encoder.encode_images([read_image(path)]) for path in paths]

    found = compare(
        {"ours": lambda: detector.score(paths), "decode + encode, a plain loop": plain}, runs
    )
    return [row_of("folder", f"scores of {IMAGES} JPEGs, no cache", found)]


def cache(folder: Path, runs: int) -> list[Timed]:
    """`OODDetector.embed` of a folder whose features are cached, beside hashing its files."""
    images = folder / "images"
    images.mkdir()
    for number, path in enumerate(photographs(images)):
        for copy in range(COPIES):  # bytes after its end make it another file, and no other image
            name = images / f"{number:03}-{copy}.jpg"
            name.write_bytes(path.read_bytes() + bytes([copy]))
        path.unlink()
    paths = sorted(images.iterdir())

    def hashes() -> list[str]:
        return [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]

    with _cache_in(folder / "cache"):
        detector = text_detector()
        found = compare(
            {"ours": lambda: detector.embed(images), "SHA-256 of the files": hashes}, runs
        )
    return [row_of("cache", f"features of {len(paths)} JPEGs, cached", found)]


def selection(folder: Path, runs: int) -> list[Timed]:
    """Bytes per pixel, beside opening each image with Pillow."""
    from synood.images.selection import measure_ratios
    from synood.images.sources import folder_per_class

    (folder / "class").mkdir()
    index = folder_per_class(folder) if photographs(folder / "class") else None
    assert index is not None

    def pillow() -> list[float]:
        found = []
        for record in index.records:
            with Image.open(record.path) as image:
                found.append(record.path.stat().st_size / (image.width * image.height))
        return found

    found = compare({"ours": lambda: measure_ratios(index), "Pillow, one by one": pillow}, runs)
    return [row_of("selection", f"bytes per pixel of {IMAGES} JPEGs", found)]


def imglist(folder: Path, runs: int) -> list[Timed]:
    """A list of 200,000 images, beside reading its lines."""
    from synood.images.imglist import read_imglist

    path = folder / "list.txt"
    path.write_text("".join(f"train/n{n // 200:08}/{n}.JPEG {n // 200}\n" for n in range(200_000)))
    names = [f"class {number}" for number in range(1_000)]

    def lines() -> list[str]:
        with path.open() as file:
            return file.readlines()

    found = compare({"ours": lambda: read_imglist(path, folder, names), "readlines": lines}, runs)
    return [row_of("imglist", "200,000 lines", found)]


@contextmanager
def _cache_in(place: Path) -> Iterator[None]:
    """Turn the cache on, in a folder of its own, until the end of the block."""
    wanted = {"SYNOOD_CACHE": str(place), "SYNOOD_CACHE_SIZE": "2GB"}
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
