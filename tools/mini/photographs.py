"""The real photographs of the mini benchmark's far-OOD sets, packed in one zip.

`fashion-photographs`: products of Fashion-MNIST (MIT), grey, 28 px.
`photographs-without-subject`: surfaces, cells, sky and pages of scikit-image's sample data
(public domain or CC0), cut into crops when the benchmark is written. The photographs with a
subject of that package train the encoder and are in no test set.
"""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from synood.files import replacing

if TYPE_CHECKING:
    from pathlib import Path

WITHOUT_SUBJECT = (
    "brick", "cell", "grass", "gravel", "hubble_deep_field", "ihc", "moon", "page", "retina",
    "text",
)  # fmt: skip
WITH_SUBJECT = ("astronaut", "chelsea", "coffee", "color", "motorcycle_left", "rocket")
FASHION_COUNT = 400


def build_photographs(samples: Path, fashion: Path, out: Path) -> None:
    """Pack the photographs; the same sources give the same bytes.

    Args:
        samples: folder with scikit-image's sample images.
        fashion: folder with Fashion-MNIST's `t10k-images-idx3-ubyte.gz`.
        out: zip to write.
    """
    index: dict[str, list[str]] = {"fashion-photographs": [], "photographs-without-subject": []}
    with replacing(out) as temporary, zipfile.ZipFile(temporary, "w") as pack:
        pixels = read_idx(fashion / "t10k-images-idx3-ubyte.gz")
        for number in np.random.default_rng(0).choice(len(pixels), FASHION_COUNT, replace=False):
            name = f"fashion/{number:05d}.png"
            _store(pack, name, Image.fromarray(pixels[number]), "PNG")
            index["fashion-photographs"].append(name)
        for stem in WITHOUT_SUBJECT:
            (source,) = sorted(samples.glob(f"{stem}.*"))
            picture = Image.open(source).convert("RGB")
            picture.thumbnail((384, 384))
            _store(pack, f"surfaces/{stem}.webp", picture, "WEBP")
            index["photographs-without-subject"].append(f"surfaces/{stem}.webp")
        pack.writestr(zipfile.ZipInfo("index.json"), json.dumps(index))


def _store(pack: zipfile.ZipFile, name: str, picture: Image.Image, kind: str) -> None:
    buffer = io.BytesIO()
    picture.save(buffer, kind, quality=85)
    pack.writestr(zipfile.ZipInfo(name), buffer.getvalue())


def read_idx(path: Path) -> np.ndarray:
    """Read an IDX file of uint8, as MNIST and its kin use: images (N, H, W) or labels (N,)."""
    data = gzip.decompress(path.read_bytes())
    rank = data[3]
    shape = np.frombuffer(data, ">i4", rank, 4)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * rank).reshape(shape)
