"""`synood evaluate`: unreadable images are counted and named, and leave the figures of the rest."""

import shutil

import pytest

from synood.benchmark.results.results import read_results


def test_a_damaged_image_on_either_side_is_skipped(done, detector, images, others, tmp_path):
    whole, results = tmp_path / "whole.json", tmp_path / "results.json"
    kept, far = (tmp_path / name for name in ("kept", "far"))
    shutil.copytree(images, kept)
    shutil.copytree(others, far)
    done("evaluate", detector, "--id", kept, "--ood", f"far={far}", "--out", whole)
    (kept / "cat" / "broken.png").write_bytes(b"\x89PNG but not really")
    (far / "empty.png").touch()

    printed = done("evaluate", detector, "--id", kept, "--ood", f"far={far}", "--out", results)

    assert "cat/broken.png" in printed.err
    assert "empty.png" in printed.err
    assert "id: 1 unreadable images skipped" in printed.err
    (row,) = read_results(results).rows
    assert (row.n_id, row.n_ood) == (15, 5)
    assert read_results(results).rows == read_results(whole).rows
    assert read_results(results).run["sets"]["far"]["images"] == 5


@pytest.mark.parametrize("side", ["id", "far"])
def test_more_than_max_bad_are_refused(refused, detector, images, others, tmp_path, side):
    copy = shutil.copytree(images if side == "id" else others, tmp_path / "copy")
    (copy / "broken.png").write_bytes(b"none")
    inside, outside = (copy, others) if side == "id" else (images, copy)
    words = ("evaluate", detector, "--id", inside, "--ood", f"far={outside}", "--max-bad", "0")
    assert f"{side}: 1 of" in refused(*words)


def test_a_set_without_a_readable_image_is_refused(refused, detector, images, tmp_path):
    (tmp_path / "one.png").write_bytes(b"none")
    line = refused("evaluate", detector, "--id", images, "--ood", f"far={tmp_path}")
    assert "far: 1 of 1 images cannot be read" in line
