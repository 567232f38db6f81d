"""Runs without an in-painting model: shuffled images, or none."""

from __future__ import annotations

import tomllib

import numpy as np
import pytest
from PIL import Image

from bundling import change_spec, tiny_bundle
from small_run import contents, run
from synood.errors import InputError
from synood.files import read_jsonl
from synood.images.decoding import read_image
from synood.images.square import square
from synood.models.bundles import load_bundle
from synood.pipeline.rundir.shards import read_synthetic

pytestmark = pytest.mark.numerical


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """A bundle without in-painting model and without describer."""
    root = tiny_bundle(tmp_path_factory.mktemp("bare") / "bundle")
    change_spec(root, describer=None, files=None)
    return root


@pytest.fixture(scope="module")
def jigsaws(bare, images, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "jigsaws"
    run(images, bare, out)
    return out


def pieces(image: np.ndarray, grid: int = 4) -> list[bytes]:
    size = len(image) // grid
    rows = [image[y * size : (y + 1) * size] for y in range(grid)]
    return sorted(row[:, x * size : (x + 1) * size].tobytes() for row in rows for x in range(grid))


def test_a_bundle_without_inpainter_takes_shuffled_images(bare, images, jigsaws):
    made = read_synthetic(jigsaws / "synthesize").values()
    size = load_bundle(bare).encoder().image_size
    selected = [row for row in read_jsonl(jigsaws / "select.jsonl") if "tune" in row["uses"]]
    assert sorted(item.id for item in made) == sorted(row["id"] for row in selected)
    for item in made:
        shuffled = np.asarray(Image.open(item.path))
        source = square(read_image(images / item.id), size)
        assert pieces(shuffled) == pieces(source)
        assert (shuffled != source).any()
        assert item.stop == "jigsaw"


def test_the_run_says_what_it_did(jigsaws):
    method = tomllib.loads((jigsaws / "run.toml").read_text())["recipe"]["synthesis"]["method"]
    assert method == "jigsaw"
    notices = [row["message"] for row in read_jsonl(jigsaws / "events.jsonl") if "message" in row]
    (said,) = [text for text in notices if "in-painting" in text]
    assert "+painter=" in said


def test_the_same_call_makes_nothing_again(bare, images, jigsaws):
    before = contents(jigsaws)
    run(images, bare, jigsaws, overwrite=False)
    assert contents(jigsaws) == before


def test_without_synthetic_images_the_mined_negatives_stay(bare, images, tmp_path):
    detector = run(images, bare, tmp_path / "none", "synthesis.method=none")
    assert detector.tuned_rows == ()
    assert detector.projection is None
    assert not read_synthetic(tmp_path / "none" / "synthesize")
    everything = "projection.negatives_in_loss=all"
    other = run(images, bare, tmp_path / "all", "synthesis.method=none", everything)
    assert other.tuned_rows == ()
    assert other.projection is not None
    assert np.isfinite(other.score(images)).all()


def test_an_inpainter_is_not_used_where_the_recipe_says_so(bundle, images, tmp_path):
    detector = run(images, bundle, tmp_path / "out", "synthesis.method=jigsaw")
    made = read_synthetic(tmp_path / "out" / "synthesize").values()
    assert {item.stop for item in made} == {"jigsaw"}
    assert detector.tuned_rows


def test_a_method_that_is_unknown_is_refused(bundle, images, tmp_path):
    with pytest.raises(InputError, match=r"synthesis\.method"):
        run(images, bundle, tmp_path / "out", "synthesis.method=collage")
