"""How often a run looks at an image: decoded twice, encoded once, its energy measured once."""

from __future__ import annotations

from collections import Counter

import pytest

from bundling import change_spec, tiny_bundle
from small_run import make_pictures, run
from synood.features import extractor
from synood.files import read_jsonl
from synood.images import decoding
from synood.models.clip import ClipEncoder
from synood.synthesis import guidance


@pytest.fixture
def counts(monkeypatch):
    """Counts decodings by file name, encoded images, and energies of source images."""
    found = {"decoded": Counter(), "encoded": 0, "measured": 0}
    decode, encode, measure = decoding.decode, ClipEncoder.encode_images, guidance.energies
    padded = {"images": 0}

    def counting_decode(data, path, **options):
        found["decoded"][path.name] += 1
        return decode(data, path, **options)

    def counting_encode(self, images, *args, **options):
        distinct = {id(image) for image in images}  # padding repeats an image of the batch
        found["encoded"] += len(distinct)
        padded["images"] += len(images) - len(distinct)
        return encode(self, images, *args, **options)

    def counting_energies(guide, pixels, settings):
        found["measured"] += len(pixels)
        return measure(guide, pixels, settings)

    monkeypatch.setattr(decoding, "decode", counting_decode)
    monkeypatch.setattr(extractor, "decode", counting_decode)
    monkeypatch.setattr(ClipEncoder, "encode_images", counting_encode)
    monkeypatch.setattr(guidance, "energies", counting_energies)
    return found


@pytest.mark.parametrize("with_probe", [False, True])
@pytest.mark.parametrize("target", ["guidance.target=-5.0", "guidance.target_quantile=0.5"])
def test_an_image_that_is_redrawn(tmp_path, counts, target, with_probe):
    """All classes have as many images as are redrawn; a probe and the threshold see them too."""
    bundle = tiny_bundle(tmp_path / "bundle", inpainter=True)
    if with_probe:
        change_spec(bundle, classifier=None, files=None)
    images = make_pictures(tmp_path / "images", count=2)

    run(images, bundle, tmp_path / "run", target, batch_size=6)

    names = [path.name for path in images.rglob("*.png")]
    synthetic = 6
    assert len(names) == 6
    assert counts["decoded"].total() == 2 * len(names) + synthetic
    assert all(counts["decoded"][name] == 2 * names.count(name) for name in names)
    assert counts["encoded"] == len(names) + synthetic
    # the energies on record are those that the target was made of
    batch = 16 if "quantile" in target else 6
    assert counts["measured"] == batch


def test_views_are_made_from_the_same_decoding(bundle, images, tmp_path, counts):
    run(images, bundle, tmp_path / "run", "projection.views=3", "guidance.rounds=1")
    chosen = read_jsonl(tmp_path / "run" / "select.jsonl")
    synthetic = 6
    redrawn = sum("tune" in row["uses"] for row in chosen)
    assert counts["decoded"].total() == len(chosen) + redrawn + synthetic


def test_a_run_that_is_done_looks_at_no_image(bundle, images, tmp_path, counts):
    run(images, bundle, tmp_path / "run", "guidance.rounds=1")
    counts["decoded"].clear()
    counts.update(encoded=0, measured=0)
    run(images, bundle, tmp_path / "run", "guidance.rounds=1")
    assert counts["decoded"].total() == counts["encoded"] == counts["measured"] == 0
