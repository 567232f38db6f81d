"""One road from an image to its features: the same bytes alone, among others and by any door."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from synood import OODDetector
from synood.cli.app import main
from synood.errors import InputError
from synood.features.extractor import BATCH, FeatureExtractor, ImageFile, encode_files
from synood.features.unreadable import Unreadable
from synood.files import sha256_file

pytestmark = pytest.mark.numerical


@pytest.fixture(scope="module")
def detector(bundle):
    return OODDetector.from_classes(["cat", "dog"], bundle, negatives=["rope", "bell"])


@pytest.fixture(scope="module")
def paths(images):
    return sorted(images.rglob("*.png"))


class Counting:
    """An encoder that counts: which batches it was given, and what mean colour they had."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def encode_images(self, images, batch_size=BATCH):
        self.batches.append(len(images))
        return np.array([np.asarray(image).mean((0, 1)) for image in images], np.float32)


def test_an_image_scores_the_same_bytes_by_every_door(detector, paths, tmp_path, capsys):
    detector.save_pretrained(tmp_path / "detector")
    together = detector.score(paths)

    alone = [detector.score(path) for path in paths]
    opened = detector.score([Image.open(path) for path in paths])
    arrays = detector.score([np.asarray(Image.open(path).convert("RGB")) for path in paths])
    capsys.readouterr()
    arguments = [str(tmp_path / "detector"), *map(str, paths), "--format", "jsonl"]
    assert main(["score", *arguments, "--device", "cpu"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    np.testing.assert_array_equal(np.concatenate(alone), together)
    np.testing.assert_array_equal(opened, together)
    np.testing.assert_array_equal(arrays, together)
    np.testing.assert_array_equal(np.array([row["score"] for row in rows], np.float32), together)


def test_embed_gives_each_image_its_row_whatever_comes_with_it(detector, paths):
    together = detector.embed(paths)
    assert together.shape == (len(paths), detector.class_features.shape[1])
    assert together.dtype == np.float32
    np.testing.assert_array_equal(detector.embed(paths[3]), together[3:4])
    np.testing.assert_array_equal(detector.embed(paths[::-1]), together[::-1])
    assert detector.embed([]).shape == (0, together.shape[1])
    np.testing.assert_allclose(detector.score_features(together), detector.score(paths), rtol=1e-5)


def test_an_unreadable_image_has_a_reason_and_stops_no_batch(detector, paths, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(paths[0].read_bytes()[:60])
    mixed = [paths[0], broken, paths[1]]

    with pytest.raises(InputError, match=r"broken\.png"):
        detector.embed(mixed)
    found = list(detector.iter_predict(mixed, report_unreadable=True))

    assert [item.error is None for item in found] == [True, False, True]
    assert "broken.png" in found[1].error
    assert np.isnan(found[1].score)
    readable = np.array([found[0].score, found[2].score], np.float32)
    np.testing.assert_array_equal(readable, detector.score(paths[:2]))


@pytest.mark.parametrize(("together", "size"), [(None, BATCH), (1, 1), (4, 4)])
def test_every_batch_has_the_same_size(paths, together, size):
    encoder = Counting()
    if together:
        encoder.together = together
    extractor = FeatureExtractor("counting", lambda: encoder)
    extractor.extract(paths[:3])
    extractor.extract([*paths, *paths[:3]])
    assert set(encoder.batches) == {size}


def test_copies_of_a_file_are_decoded_once_and_errors_name_each(paths, tmp_path, monkeypatch):
    from synood.features import extractor as module

    decoded = []
    original = module.decode
    monkeypatch.setattr(
        module, "decode", lambda *args, **how: decoded.append(args[1]) or original(*args, **how)
    )
    copies = [tmp_path / f"{name}.png" for name in "ab"]
    for copy in copies:
        copy.write_bytes(paths[0].read_bytes())
    road = FeatureExtractor("counting", Counting)
    road.extract([paths[0], *copies])
    assert len(decoded) == 1

    for copy in copies:
        copy.write_bytes(b"\x89PNG\r\n\x1a\n nothing more")
    found = road.extract(copies)
    assert all(isinstance(item, Unreadable) for item in found)
    assert ["a.png" in found[0].reason, "b.png" in found[1].reason] == [True, True]


def test_views_of_an_image_are_made_from_one_decoding(paths, monkeypatch):
    from synood.features import extractor as module

    read = []
    original = module.read_image
    monkeypatch.setattr(
        module, "read_image", lambda *args, **how: read.append(args) or original(*args, **how)
    )
    hashes = [sha256_file(path) for path in paths[:2]]
    files = [
        ImageFile(path, content, view)
        for path, content in zip(paths, hashes, strict=False)
        for view in range(4)
    ]
    features = encode_files(Counting(), files)
    assert len(read) == 2
    assert len({feature.tobytes() for feature in features}) == 8
