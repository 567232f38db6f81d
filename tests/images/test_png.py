"""PNGs with much metadata are read, and what they unpack to is not."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from PIL import Image

from synood.images.decoding import image_size, read_image
from synood.images.png import without_large_texts

NOISE = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)


def with_chunk(name, body):
    """A PNG of NOISE with one more chunk before its pixels, checksum and all."""
    file = io.BytesIO()
    Image.fromarray(NOISE).save(file, "PNG")
    data = file.getvalue()
    chunk = struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
    return data[:33] + chunk + data[33:]


LARGE = b"metadata " * 200_000  # 1.8 MB


CHUNKS = {
    "text": (b"tEXt", b"Comment\0" + LARGE),
    "packed text": (b"zTXt", b"Comment\0\0" + zlib.compress(LARGE)),
    "international": (b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + LARGE),
    "packed international": (b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(LARGE)),
    "profile": (b"iCCP", b"icc\0\0" + zlib.compress(LARGE)),
    "all texts": (b"tEXt", b"Comment\0" + b"x" * 2**26),
    "damaged": (b"zTXt", b"Comment\0\0" + LARGE),
}


@pytest.mark.parametrize("kind", sorted(CHUNKS))
def test_a_png_with_large_metadata_is_read(tmp_path, kind):
    path = tmp_path / "a.png"
    path.write_bytes(with_chunk(*CHUNKS[kind]))

    assert (np.asarray(read_image(path)) == NOISE).all()
    assert image_size(path) == (60, 40)


def test_a_text_that_would_unpack_to_gigabytes_is_not_unpacked(tmp_path):
    packer = zlib.compressobj(9)
    bomb = b"".join(packer.compress(bytes(2**20)) for _ in range(500)) + packer.flush()
    path = tmp_path / "a.png"
    path.write_bytes(with_chunk(b"zTXt", b"Comment\0\0" + bomb))
    tracemalloc.start()

    assert (np.asarray(read_image(path)) == NOISE).all()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 * 2**20


def test_metadata_that_pillow_reads_stay_and_say_which_way_is_up(tmp_path):
    packet = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf tiff:Orientation="6"/></x:xmpmeta>'
    data = with_chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + packet)
    path = tmp_path / "a.png"
    path.write_bytes(data)

    assert without_large_texts(data) is data
    assert (np.asarray(read_image(path)) == np.rot90(NOISE, -1)).all()
