"""One server for most tests, with two detectors of one encoder, and images to send."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from serving_client import running
from small_run import make_pictures
from synood import OODDetector

NAMES = ("panda", "lighthouse", "grün & more")


@pytest.fixture(scope="session")
def detectors(tmp_path_factory):
    """A folder with two calibrated detectors, `first` and `second one`; nobody writes to it."""
    root = tmp_path_factory.mktemp("served")
    images = make_pictures(root / "calibration", count=8)
    folder = root / "detectors"
    for name, classes in (("first", NAMES), ("second one", NAMES[:2])):
        made = OODDetector.from_classes(
            list(classes), models="mini", negatives=["car", "tree", "violin"], device="cpu"
        )
        made.calibrate(images, tpr=0.5).save_pretrained(folder / name)
    return folder


@pytest.fixture(scope="session")
def server(detectors, tmp_path_factory):
    with running(detectors, tmp_path_factory.mktemp("log") / "log") as started:
        yield started


@pytest.fixture(scope="session")
def image_files(tmp_path_factory):
    """Paths of images of several kinds and shapes."""
    root = tmp_path_factory.mktemp("sent")
    rng = np.random.default_rng(3)
    shapes = ((40, 60), (300, 200), (64, 64), (31, 500), (700, 900), (5, 5), (128, 64), (90, 91))
    for number, (height, width) in enumerate(shapes):
        coarse = rng.integers(0, 256, (6, 7, 3), np.uint8)
        image = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
        kind = ("jpg", "png", "webp")[number % 3]
        exif = Image.Exif()
        exif[0x0112] = 1 + number % 8  # turned and mirrored in every way
        image.save(root / f"{number}.{kind}", exif=exif)
    return sorted(root.iterdir())


@pytest.fixture(scope="session")
def png():
    """The bytes of a small image."""
    file = io.BytesIO()
    Image.fromarray(np.arange(48, dtype=np.uint8).reshape(4, 4, 3) * 5).save(file, "PNG")
    return file.getvalue()
