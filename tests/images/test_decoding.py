"""Every kind of odd image file has one outcome: the right pixels, or one sentence that names it."""

from __future__ import annotations

import contextlib
import io
import os
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from synood.errors import InputError
from synood.images import decoding
from synood.images.decoding import image_size, read_image
from synood.images.kinds import READ
from synood.images.presets import PREPROCESS
from synood.images.views import view_of

# One dark corner, so that every turn and mirror of it looks different.
CORNER = np.full((6, 9, 3), 200, np.uint8)
CORNER[:2, :3] = 10
CORNER[:2, 6:] = (200, 10, 10)
NOISE = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)

# What "turn so that it stands upright" means for each EXIF value, on arrays.
UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a, 1),
}


def save(path, image, **options):
    image.save(path, **options)
    return path


def encoded(kind, **options):
    buffer = io.BytesIO()
    Image.fromarray(NOISE).save(buffer, kind, **options)
    return buffer.getvalue()


def pixels(path):
    image = read_image(path)
    assert image.mode == "RGB"
    return np.asarray(image)


def png(width, height, bit_depth=1, colour=0, data=b""):
    """A PNG file put together by hand: the header may say what it likes."""

    def chunk(name, body):
        return (
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        )

    header = struct.pack(">IIBBBBB", width, height, bit_depth, colour, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("PNG", {}),
        ("BMP", {}),
        ("PPM", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("WEBP", {"lossless": True}),
    ],
)
def test_lossless_kinds_give_the_pixels_back(tmp_path, kind, options):
    path = tmp_path / "image"
    path.write_bytes(encoded(kind, **options))

    assert (pixels(path) == NOISE).all()


def test_jpeg_is_close(tmp_path):
    smooth = Image.fromarray(NOISE).resize((8, 8)).resize((64, 64))
    path = save(tmp_path / "a.jpg", smooth, quality=95)

    assert np.abs(pixels(path).astype(int) - np.asarray(smooth)).mean() < 5


def test_the_bytes_count_and_not_the_suffix(tmp_path):
    path = tmp_path / "really-a-png.jpg"
    path.write_bytes(encoded("PNG"))

    assert (pixels(path) == NOISE).all()


def test_grey_palette_and_black_and_white(tmp_path):
    grey = Image.fromarray(NOISE[:, :, 0])
    bilevel = Image.fromarray(NOISE[:, :, 0] > 99)
    palette = Image.fromarray(NOISE).quantize(16)

    assert (pixels(save(tmp_path / "l.png", grey)) == NOISE[:, :, :1]).all()
    assert (pixels(save(tmp_path / "1.png", bilevel)) == 255 * (NOISE[:, :, :1] > 99)).all()
    assert (pixels(save(tmp_path / "p.png", palette)) == np.asarray(palette.convert("RGB"))).all()


def test_cmyk(tmp_path):
    ink = np.zeros((16, 16, 4), np.uint8)
    ink[:, :, 1:3] = 255  # magenta and yellow ink make red
    path = save(tmp_path / "cmyk.jpg", Image.fromarray(ink, mode="CMYK"), quality=95)

    red, green, blue = pixels(path).reshape(-1, 3).mean(axis=0)
    assert red > 240
    assert green < 15
    assert blue < 15


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_sixteen_bit_grey_is_scaled_not_clipped(tmp_path, kind):
    values = np.array([[0, 255, 256, 32767], [32768, 40000, 65279, 65535]], np.uint16)
    path = save(tmp_path / "deep", Image.fromarray(values), format=kind)

    assert pixels(path)[:, :, 0].tolist() == [[0, 0, 1, 127], [128, 156, 254, 255]]


def test_sixteen_bit_colour_png(tmp_path):
    path = tmp_path / "deep.png"
    row = b"\0" + struct.pack(">3H", 256 * 7 + 255, 65535, 256 * 128)
    path.write_bytes(png(1, 1, bit_depth=16, colour=2, data=row))

    assert pixels(path).tolist() == [[[7, 255, 128]]]


def test_numbers_without_a_range_are_refused(tmp_path):
    path = save(tmp_path / "float.tif", Image.fromarray(np.ones((2, 2), np.float32)))

    with pytest.raises(InputError, match=r"float\.tif: its numbers have no fixed range"):
        read_image(path)


def test_transparency_lies_over_white(tmp_path):
    rgba = np.zeros((1, 3, 4), np.uint8)
    rgba[0, :, 0] = 200
    rgba[0, :, 3] = (0, 128, 255)

    colours = pixels(save(tmp_path / "rgba.png", Image.fromarray(rgba)))[0].tolist()

    assert colours[0] == [255, 255, 255]
    assert colours[2] == [200, 0, 0]
    assert colours[1] == pytest.approx([227, 127, 127], abs=1)


def test_palette_with_a_transparent_colour(tmp_path):
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putpixel((1, 0), 1)
    path = save(tmp_path / "p.png", image, transparency=0)

    assert pixels(path)[0].tolist() == [[255, 255, 255], [0, 0, 255]]


def test_grey_with_alpha_and_with_a_transparent_grey(tmp_path):
    la = Image.fromarray(np.array([[[50, 0], [50, 255]]], np.uint8), mode="LA")
    keyed = Image.fromarray(np.array([[50, 60]], np.uint8))

    assert pixels(save(tmp_path / "la.png", la))[0, :, 0].tolist() == [255, 50]
    path = save(tmp_path / "key.png", keyed, transparency=50)
    assert pixels(path)[0, :, 0].tolist() == [255, 60]


def test_first_frame_of_an_animation(tmp_path):
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "lime", "blue")]
    for name in ("a.gif", "a.webp", "a.tiff", "a.png"):
        options = {"lossless": True} if name == "a.webp" else {}
        path = tmp_path / name
        frames[0].save(path, save_all=True, append_images=frames[1:], duration=50, **options)

        assert (pixels(path) == (255, 0, 0)).all()


@pytest.mark.parametrize("orientation", sorted(UPRIGHT))
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_exif_orientation_is_applied(tmp_path, orientation, kind):
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if kind == "WEBP" else {}
    path = save(tmp_path / "turned", Image.fromarray(CORNER), format=kind, exif=exif, **options)

    assert (pixels(path) == UPRIGHT[orientation](CORNER)).all()


def test_exif_orientation_of_a_jpeg(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    blocks = Image.fromarray(CORNER).resize((72, 48), Image.Resampling.NEAREST)
    path = save(tmp_path / "photo.jpg", blocks, exif=exif, quality=95)

    found = pixels(path)
    expected = np.rot90(np.asarray(blocks), -1)
    assert found.shape == expected.shape == (72, 48, 3)
    assert np.abs(found.astype(int) - expected).mean() < 5
    assert image_size(path) == (72, 48)


@pytest.mark.parametrize(
    "exif", [b"Exif\0\0", b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\xff"]
)
def test_broken_exif_counts_as_none(tmp_path, exif):
    path = save(tmp_path / "a.jpg", Image.fromarray(NOISE), exif=exif)

    assert pixels(path).shape == NOISE.shape


@pytest.mark.parametrize("kind", READ)
@pytest.mark.parametrize("kept", [0.95, 0.5])
def test_a_file_cut_off_is_refused(tmp_path, kind, kept):
    data = encoded(kind)
    path = tmp_path / "half.jpg"
    path.write_bytes(data[: int(len(data) * kept)])

    with pytest.raises(InputError, match=r"half\.jpg: (the image is damaged|not an image)"):
        read_image(path)


def test_empty_missing_folder_and_other_files_are_named(tmp_path):
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "page.jpg").write_text("<html>not found</html>")
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "link.jpg").symlink_to(tmp_path / "nowhere")

    for name, message in {
        "empty.jpg": r"the file is empty \(0 bytes\)",
        "page.jpg": "not an image, or of a kind not read here",
        "folder.jpg": "cannot be read .not a plain file",
        "missing.jpg": "cannot be read .No such file",
        "link.jpg": "cannot be read .No such file",
    }.items():
        for read in (read_image, image_size):
            with pytest.raises(InputError, match=f"{name}: {message}"):
                read(tmp_path / name)


def test_vector_and_document_formats_are_not_opened(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")  # would run Ghostscript

    with pytest.raises(InputError, match="not an image, or of a kind not read"):
        read_image(path)


@pytest.mark.parametrize("size", [(20_000, 20_000), (10_000, 9_000), (100_000, 100_000)])
def test_a_decompression_bomb_is_refused_unopened(tmp_path, size):
    path = tmp_path / "bomb.png"
    path.write_bytes(png(*size))

    for read in (read_image, image_size):
        with pytest.raises(InputError, match=r"bomb\.png: .* more than the limit of 89478485"):
            read(path)


def test_the_limit_is_exact(tmp_path):
    path = save(tmp_path / "a.png", Image.fromarray(NOISE))
    data = path.read_bytes()

    assert decoding.decode(data, path, max_pixels=2400).size == (60, 40)
    with pytest.raises(InputError, match=r"60 x 40 pixels are more than the limit of 2399"):
        decoding.decode(data, path, max_pixels=2399)


def test_names_outside_utf8(tmp_path):
    good, bad = (tmp_path / os.fsdecode(name) for name in (b"caf\xe9.png", b"b\xff.png"))
    good.write_bytes(encoded("PNG"))
    bad.write_bytes(b"")

    assert (pixels(good) == NOISE).all()
    with pytest.raises(InputError) as raised:
        read_image(bad)
    assert rb"b\xff.png: the file is empty" in str(raised.value).encode()  # can be printed


def test_a_link_is_followed(tmp_path):
    real = save(tmp_path / "real.png", Image.fromarray(NOISE))
    link = tmp_path / "link.png"
    link.symlink_to(real)

    assert (pixels(link) == NOISE).all()


FILES = {kind: encoded(kind) for kind in READ}


@settings(max_examples=400)
@given(
    st.sampled_from(sorted(FILES)),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1),
    st.floats(0.2, 1),
    st.booleans(),
)
def test_changed_bytes_give_an_image_or_an_input_error(
    tmp_path_factory, kind, changes, kept, in_header
):
    data = bytearray(FILES[kind])
    for place, value in changes:
        data[int(place * (64 if in_header else len(data)))] = value
    path = tmp_path_factory.getbasetemp() / "changed"
    path.write_bytes(data[: int(len(data) * kept)])

    with contextlib.suppress(InputError):
        image = read_image(path)
        assert image.mode == "RGB"
        assert min(image.size) > 0


def test_kinds_of_the_phone_and_the_web(tmp_path):
    smooth = Image.fromarray(NOISE).resize((8, 8)).resize((64, 48))
    first, second = smooth, Image.new("RGB", smooth.size)
    first.save(tmp_path / "a.mpo", save_all=True, append_images=[second], quality=95)
    smooth.save(tmp_path / "a.avif", quality=95)
    smooth.save(tmp_path / "a.jp2")
    smooth.save(tmp_path / "a.jfif", "JPEG", quality=95)

    for name in ("a.mpo", "a.avif", "a.jp2", "a.jfif"):
        found = pixels(tmp_path / name)
        assert image_size(tmp_path / name) == (64, 48)
        assert np.abs(found.astype(int) - np.asarray(smooth)).mean() < 5, name


@pytest.mark.parametrize(
    ("name", "data", "kind"),
    [
        ("a.heic", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(200), "HEIC"),
        ("a.heif", b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic" + bytes(200), "HEIC"),
        ("a.jxl", b"\xff\x0a" + bytes(200), "JPEG XL"),
        ("a.psd", b"8BPS\0\1" + bytes(200), "Photoshop"),
        ("scan", bytes(128) + b"DICM" + bytes(200), "DICOM"),
    ],
)
def test_a_kind_that_is_not_read_is_named_with_the_fix(tmp_path, name, data, kind):
    (tmp_path / name).write_bytes(data)

    for read in (read_image, image_size):
        with pytest.raises(InputError, match=f"{name}: {kind} images are .* convert it to JPEG or"):
            read(tmp_path / name)


@pytest.mark.parametrize("size", [(1200, 4), (4, 1200), (1, 20_000), (20_000, 1), (1, 1)])
def test_strips_are_read(tmp_path, size):
    path = save(tmp_path / "strip.png", Image.new("RGB", size, (9, 8, 7)))

    assert read_image(path).size == image_size(path) == size
    assert (
        PREPROCESS["clip"].pixels(read_image(path)).round(4)
        == np.float32([[[0.0353]], [[0.0314]], [[0.0275]]])
    ).all()
    assert view_of(read_image(path), "0" * 64, 1).size[0] <= 512
