"""Images in object stores and other places that fsspec opens, against the same files on disk."""

from __future__ import annotations

import pickle
from pathlib import Path

import fsspec
import numpy as np
import pytest

from bundling import CLASSES, tiny_bundle
from small_run import contents, make_pictures, run
from synood import InputError, OODDetector
from synood.cli.app import main
from synood.images.decoding import image_size, read_image
from synood.images.imglist import read_imglist
from synood.images.remote import RemotePath, as_path
from synood.images.selection import bytes_per_pixel
from synood.images.sources import find_images, folder_per_class, read_class_names


@pytest.fixture
def local(tmp_path):
    root = make_pictures(tmp_path / "local", count=3)
    (root / "cat" / ".hidden.png").write_bytes(b"x")
    (root / "notes.txt").write_text("cat/1.png 0\ndog/2.png 1\n")
    return root


@pytest.fixture(params=["memory://bucket/pictures", "file://{}/stored"])
def stored(request, local, tmp_path):
    """The same files at a URL."""
    url = request.param.format(tmp_path)
    system, path = fsspec.core.url_to_fs(url)
    system.put(f"{local}/", f"{path}/", recursive=True)
    yield url
    system.rm(path, recursive=True)


def same_index(mine, theirs) -> bool:
    rows = ([(record.id, record.label) for record in index.records] for index in (mine, theirs))
    return mine.class_names == theirs.class_names and next(rows) == next(rows)


def test_listings_are_those_of_the_files_on_disk(local, stored):
    assert same_index(folder_per_class(Path(stored)), folder_per_class(local))
    assert same_index(find_images([Path(stored)]), find_images([local]))
    names = ("cat", "dog/1.png")
    mine, theirs = (
        find_images([Path(f"{root}/{name}") for name in names]) for root in (stored, local)
    )
    assert same_index(mine, theirs)
    imglists = (read_imglist(Path(f"{r}/notes.txt"), Path(r), CLASSES) for r in (stored, local))
    assert same_index(*imglists)
    assert read_class_names(Path(f"{stored}/notes.txt")) == ["cat/1.png 0", "dog/2.png 1"]


def test_pictures_are_those_of_the_files_on_disk(local, stored):
    for mine, theirs in zip(
        find_images([Path(stored)]).records, find_images([local]).records, strict=True
    ):
        sent = pickle.loads(pickle.dumps(mine.path))
        for path in (mine.path, sent, as_path(str(sent))):
            assert isinstance(path, RemotePath)
            assert image_size(path) == image_size(theirs.path)
            assert bytes_per_pixel(path) == bytes_per_pixel(theirs.path)
            assert read_image(path).tobytes() == read_image(theirs.path).tobytes()


def test_what_is_missing_broken_or_unknown_is_named(stored):
    with pytest.raises(InputError, match="nothing: no such file"):
        find_images([Path(f"{stored}/nothing")])
    with pytest.raises(InputError, match="no such folder"):
        folder_per_class(Path(f"{stored}/nothing"))
    with pytest.raises(InputError, match=r"missing\.png: cannot be read"):
        read_image(as_path(f"{stored}/missing.png"))
    with pytest.raises(InputError, match=r"notes\.txt: not an image"):
        read_image(as_path(f"{stored}/notes.txt"))
    with pytest.raises(InputError, match="different stores"):
        find_images([Path(stored), Path(__file__)])


def test_a_store_whose_package_is_missing_is_told():
    with pytest.raises(InputError, match=r"abfs://box/x: cannot be reached.*adlfs"):
        find_images([Path("abfs://box/x")])


def test_names_with_a_colon_that_are_no_url_stay_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("s3:").mkdir()
    assert not isinstance(as_path("s3:/a.png"), RemotePath)
    assert not isinstance(as_path("nonsense:/a.png"), RemotePath)
    assert not isinstance(as_path("a:b/c.png"), RemotePath)


def test_a_changed_file_is_told_from_the_listing(stored):
    before = {r.id: r.path.stat() for r in find_images([Path(stored)]).records}
    again = {r.id: r.path.stat() for r in find_images([Path(stored)]).records}
    assert before == again
    with fsspec.open(f"{stored}/cat/1.png", "wb") as file:
        file.write(b"other")
    after = {r.id: r.path.stat() for r in find_images([Path(stored)]).records}
    changed = {
        key
        for key in after
        if (after[key].st_size, after[key].st_mtime_ns)
        != (before[key].st_size, before[key].st_mtime_ns)
    }
    assert changed == {"cat/1.png"}


def test_a_detector_scores_a_url_as_it_scores_the_folder(local, stored, tmp_path, capsys):
    detector = OODDetector.from_classes(CLASSES, models=tiny_bundle(tmp_path / "bundle"))
    np.testing.assert_array_equal(detector.score(stored), detector.score(local))
    np.testing.assert_array_equal(
        detector.score([f"{stored}/cat/1.png"]), detector.score([local / "cat" / "1.png"])
    )
    detector.save_pretrained(tmp_path / "detector")
    assert main(["score", str(tmp_path / "detector"), stored, "--format", "jsonl"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 9
    assert f'"path": "{stored}/cat/0.png"' in lines[0]


def test_a_run_on_a_url_gives_the_bytes_of_one_on_the_folder(tmp_path):
    local = make_pictures(tmp_path / "local")
    bundle = tiny_bundle(tmp_path / "bundle", inpainter=True)
    fsspec.filesystem("memory").put(f"{local}/", "/fit/", recursive=True)
    run(local, bundle, tmp_path / "here")
    run(Path("memory://fit"), bundle, tmp_path / "there")

    but = ("events.jsonl", ".lock", "select.jsonl")  # which holds the listing's marks
    assert contents(tmp_path / "there", but=but) == contents(tmp_path / "here", but=but)
