"""Preset "fast": large JPEGs are decoded at a reduced size, the same way through every door."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import sklearn.datasets
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from bundling import CLASSES, change_spec, tiny_bundle
from synood import OODDetector
from synood.cli.app import main
from synood.deploy.exporting import export_onnx
from synood.deploy.onnx_detector import OnnxDetector
from synood.errors import InputError
from synood.features.extractor import ImageFile, encode_files
from synood.files import sha256_file
from synood.images.decoding import decode, read_image
from synood.images.presets import PREPROCESS, reading_of
from synood.images.reading import Reading
from synood.models.bundles import load_bundle
from synood.models.naflex import NaFlexEncoder
from synood.models.presets import preprocess_fingerprint, with_preset
from tiny_families import tiny_family

pytestmark = pytest.mark.numerical

SIDE = 64  # twice the 32 pixels that the tiny encoder takes
PHOTOGRAPH = Path(sklearn.datasets.__file__).parent / "images" / "china.jpg"  # 640 x 427


def jpeg(width, height, **options):
    ramp = np.linspace(0, 255, width * height * 3).reshape(height, width, 3)
    file = io.BytesIO()
    Image.fromarray(ramp.astype(np.uint8)).save(file, "JPEG", **options)
    return file.getvalue()


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 700),
    st.integers(1, 700),
    st.integers(1, 90),
    st.sampled_from([{}, {"progressive": True}, {"subsampling": 0}, {"subsampling": 2}]),
)
def test_the_size_is_the_smallest_that_keeps_the_side(width, height, side, options):
    found = decode(jpeg(width, height, **options), Path("x"), reading=Reading(side=side))

    sizes = [
        (-(-width // by), -(-height // by)) for by in (8, 4, 2) if min(width, height) >= by * side
    ]
    assert found.size == (sizes or [(width, height)])[0]
    assert found.mode == "RGB"


def test_the_pixels_are_pillows_own():
    found = read_image(PHOTOGRAPH, reading=Reading(side=100))
    with Image.open(PHOTOGRAPH) as image:
        image.draft("RGB", (107, 71))  # a sixth: an eighth is too small, a quarter is it
        assert found.tobytes() == image.convert("RGB").tobytes()
    averaged = np.asarray(read_image(PHOTOGRAPH).reduce(4), float)  # no code of libjpeg's
    assert np.abs(np.asarray(found, float) - averaged).mean() < 2


def test_a_reduced_photograph_is_turned_and_a_grey_or_cmyk_one_converted():
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = decode(jpeg(400, 200, exif=exif), Path("x"), reading=Reading(side=50))
    assert turned.size == (50, 100)
    for mode in ("L", "CMYK"):
        file = io.BytesIO()
        Image.open(PHOTOGRAPH).convert(mode).save(file, "JPEG")
        found = decode(file.getvalue(), Path("x"), reading=Reading(side=100))
        assert (found.size, found.mode) == ((160, 107), "RGB")


def test_other_kinds_and_opened_images_stay_whole():
    whole = read_image(PHOTOGRAPH)
    for kind in ("PNG", "WEBP", "TIFF"):
        file = io.BytesIO()
        whole.save(file, kind, **({"lossless": True} if kind == "WEBP" else {}))
        found = decode(file.getvalue(), Path("x"), reading=Reading(side=10))
        assert found.tobytes() == whole.tobytes()


def test_a_damaged_photograph_is_refused_at_any_size():
    cut = PHOTOGRAPH.read_bytes()[:20_000]
    for reading in (Reading(), Reading(side=50)):
        with pytest.raises(InputError, match=r"x\.jpg: the image is damaged or cut off"):
            decode(cut, Path("x.jpg"), reading=reading)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return tiny_bundle(tmp_path_factory.mktemp("bundle"))


@pytest.fixture(scope="module")
def encoders(bundle):
    return {name: load_bundle(f"{bundle}+encoder.preprocess={name}").encoder() for name in
            ("exact", "fast", "clip-upright")}  # fmt: skip


def by_hand(encoder):
    with Image.open(PHOTOGRAPH) as image:
        image.draft("RGB", (107, 71))
        small = image.convert("RGB")
    assert small.size == (160, 107)
    return encoder.encode_images([small])


def test_every_way_to_a_feature_reduces_alike(bundle, encoders, tmp_path):
    fast = OODDetector.from_classes(CLASSES, f"{bundle}+encoder.preprocess=fast", ["rope", "bell"])
    exact = OODDetector.from_classes(CLASSES, bundle, ["rope", "bell"])
    expected = by_hand(encoders["fast"])

    files = [ImageFile(PHOTOGRAPH, sha256_file(PHOTOGRAPH))]
    extractor = fast.backbone.extractor()
    served = extractor.encoded([extractor.decoded(PHOTOGRAPH.read_bytes(), PHOTOGRAPH)])
    whole = exact.embed(PHOTOGRAPH)  # fills the cache, which must not be asked for the other
    ways = [fast.embed(PHOTOGRAPH), encode_files(encoders["fast"], files), served]
    for found in ways:
        np.testing.assert_allclose(found, expected, atol=1e-5)
    with Image.open(PHOTOGRAPH) as opened:
        np.testing.assert_allclose(fast.embed(opened), whole, atol=1e-5)
        assert opened.size == (640, 427)
    assert 1e-4 < np.abs(expected - whole).max() < 0.1 * np.abs(whole).max()


def test_a_detector_keeps_its_preset_and_an_exported_one_reads_alike(bundle, tmp_path, capsys):
    made = tmp_path / "made"
    (tmp_path / "names.txt").write_text("\n".join(CLASSES))
    command = ["zero-shot", "--classes", str(tmp_path / "names.txt"), "--share", "0.9",
               "--models", str(bundle), "--preprocess", "fast", "--out", str(made)]  # fmt: skip
    assert main(command) == 0
    detector = OODDetector.from_pretrained(made)
    assert detector.backbone.preprocess == "fast"
    assert reading_of(detector.backbone.load()) == Reading(side=SIDE)
    capsys.readouterr()
    assert main(["score", str(made), str(PHOTOGRAPH), "--format", "jsonl"]) == 0
    score = json.loads(capsys.readouterr().out)["score"]
    assert score == pytest.approx(float(detector.score(PHOTOGRAPH)[0]), abs=1e-6)

    export_onnx(detector, tmp_path / "made.onnx")
    file = OnnxDetector.from_file(tmp_path / "made.onnx", threads=1)
    assert file.metadata.reading == Reading(side=SIDE)
    assert file.predict(PHOTOGRAPH)[0].score == pytest.approx(score, abs=1e-4)
    opened = Image.open(PHOTOGRAPH)
    assert abs(file.predict(opened)[0].score - score) > 1e-3  # so the file's was reduced


def test_exact_is_the_checkpoint_s_own_and_presets_replace_each_other(bundle, encoders):
    own = load_bundle(bundle).encoder()
    assert encoders["exact"].fingerprint == own.fingerprint
    marks = {name: encoder.fingerprint for name, encoder in encoders.items()}
    assert len({*marks.values()}) == 3
    fast = encoders["fast"]
    assert with_preset(fast, "exact").fingerprint == own.fingerprint
    assert with_preset(fast, "clip-upright").fingerprint == marks["clip-upright"]
    assert with_preset(encoders["clip-upright"], "fast").fingerprint == marks["fast"]
    assert not any(preset.fast for preset in PREPROCESS.values())


def test_opened_images_are_read_plainly_where_files_are(bundle, tmp_path):
    pixels = np.zeros((40, 40, 4), np.uint8)  # black, and laid on white where it is seen
    Image.fromarray(pixels, "RGBA").save(tmp_path / "a.png")
    features = {}
    for preset in ("clip", "clip-upright"):
        detector = OODDetector.from_classes(
            CLASSES, f"{bundle}+encoder.preprocess={preset}", ["rope", "bell"]
        )
        features[preset] = detector.embed(tmp_path / "a.png")
        with Image.open(tmp_path / "a.png") as opened:
            np.testing.assert_array_equal(detector.embed(opened), features[preset])
    assert np.abs(features["clip"] - features["clip-upright"]).max() > 1e-3


def test_how_files_are_read_is_part_of_the_fingerprint():
    own = PREPROCESS["clip-upright"]
    ways = [own, replace(own, fast=True), replace(own, plain=True)]
    assert len({preprocess_fingerprint(steps) for steps in ways}) == 3


def test_a_preset_in_the_bundle_s_own_file_reads_alike(tmp_path):
    bundle = tiny_bundle(tmp_path / "bundle")
    change_spec(bundle, encoder={"type": "clip", "path": "encoder", "preprocess": "fast"})
    detector = OODDetector.from_classes(CLASSES, bundle, ["rope", "bell"])
    expected = by_hand(detector.backbone.load())
    np.testing.assert_allclose(detector.embed(PHOTOGRAPH), expected, atol=1e-5)


def test_an_encoder_of_any_shape_refuses_it(tmp_path):
    encoder = NaFlexEncoder.from_pretrained(tiny_family(tmp_path, "siglip2"))
    with pytest.raises(InputError, match="its preprocessing cannot be replaced"):
        with_preset(encoder, "fast")
