"""The features kept between runs: by content, bounded, for several processes, never in the way."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from small_run import contents, make_pictures, run
from synood import InputError, OODDetector
from synood.cli.app import main
from synood.features.cache import FILE, FeatureCache, cache_folder, open_cache, parse_size, space_of
from synood.models.clip import ClipEncoder

WRITER = """
import sys
from pathlib import Path
import numpy as np
from synood.features.cache import FeatureCache

cache = FeatureCache(Path(sys.argv[1]), int(sys.argv[2]))
for block in range(int(sys.argv[4])):
    keys = [f"{sys.argv[3]}-{block}-{i}" for i in range(16)]
    cache.put("space", {k: np.full(64, len(k) + block, np.float32) for k in keys})
    found = cache.get("space", keys)
    assert all((one == len(k) + block).all() for k, one in found.items())
    print(block, flush=True)
"""


class Clock:
    now = 1000.0

    def __call__(self):
        self.now += 1
        return self.now


@pytest.fixture
def cache(tmp_path):
    return FeatureCache(tmp_path / "cache" / FILE, 10**6, Clock())


def rows(names, dim=64):
    return {name: np.full(dim, number, np.float32) for number, name in enumerate(names)}


def test_what_was_put_comes_back_in_its_own_space_alone(cache):
    given = {f"{i}": np.random.default_rng(i).random(48, dtype=np.float32) for i in range(1200)}
    assert cache.get("a", given) == {}
    for start in range(0, 1200, 300):
        cache.put("a", dict(list(given.items())[start : start + 300]))
    found = cache.get("a", [*given, "unknown"])
    assert found.keys() == given.keys()
    assert all(np.array_equal(found[key], given[key]) for key in given)
    assert cache.get("b", given) == {}
    assert cache.get("a", []) == {}


def test_its_size_is_bounded_and_what_was_used_last_stays(tmp_path):
    cache = FeatureCache(tmp_path / FILE, 10**6, Clock())
    cache.put("a", rows(["kept"], 512))
    for block in range(100):
        cache.put("a", rows([f"{block}-{i}" for i in range(16)], 512))
        assert cache.path.stat().st_size <= 10**6
        assert "kept" in cache.get("a", ["kept"])
    assert cache.get("a", ["0-0"]) == {}
    assert "99-0" in cache.get("a", ["99-0"])
    assert 200 < cache.contents().features < 500
    cache.put("a", rows([f"{i}" for i in range(1000)], 512))  # more than it may hold: not at all
    assert "kept" in cache.get("a", ["kept"])


def test_several_processes_write_at_once_and_one_is_killed(tmp_path):
    path, limit = tmp_path / FILE, 500_000
    words = [sys.executable, "-c", WRITER, str(path), str(limit)]
    steady = [subprocess.Popen([*words, name, "60"], stdout=subprocess.PIPE) for name in "ab"]
    doomed = subprocess.Popen([*words, "c", "100000"], stdout=subprocess.PIPE)
    for _ in range(20):
        doomed.stdout.readline()
    doomed.send_signal(signal.SIGKILL)
    for process in (*steady, doomed):
        process.communicate()

    assert [process.returncode for process in (*steady, doomed)] == [0, 0, -9]
    cache = FeatureCache(path, limit)
    assert path.stat().st_size <= limit
    assert cache.get("space", ["a-59-0", "b-59-0"])  # of whoever came last at least


@pytest.mark.parametrize("damage", ["other", "half", "middle"])
def test_a_damaged_file_is_as_good_as_none(cache, damage):
    names = [f"{i}" for i in range(2000)]
    for start in range(0, 2000, 100):
        cache.put("a", rows(names[start : start + 100]))
    data = bytearray(cache.path.read_bytes())
    if damage == "other":
        cache.path.write_text("no database at all" * 100)
    elif damage == "half":
        cache.path.write_bytes(data[: len(data) // 2])
    else:
        data[len(data) // 2 : len(data) // 2 + 40_000] = os.urandom(40_000)
        cache.path.write_bytes(data)

    found = cache.get("a", names)

    assert all(np.array_equal(found[name], rows(names)[name]) for name in list(found)[:50])
    cache.get("a", names)
    cache.put("a", rows(["new"]))
    cache.put("a", rows(["new"]))
    assert "new" in cache.get("a", ["new"])


def test_one_altered_feature_is_made_again(cache):
    cache.put("a", rows(["x", "y"]))
    import sqlite3

    with sqlite3.connect(cache.path) as db:
        db.execute("UPDATE features SET data = zeroblob(256) WHERE image = 'y'")
    assert set(cache.get("a", ["x", "y"])) == {"x"}


def test_a_place_that_cannot_be_written_to_is_done_without(tmp_path):
    (tmp_path / "file").touch()
    cache = FeatureCache(tmp_path / "file" / FILE, 10**6)
    cache.put("a", rows(["x"]))
    assert cache.get("a", ["x"]) == {}
    assert cache.contents().features == 0
    assert cache.clear() == 0


def test_clearing(cache):
    cache.put("a", rows(["old"]))
    cache._clock.now += 100
    cache.put("a", rows(["new"]))
    assert cache.contents().features == 2
    assert cache.clear(unused_for=50) == 1
    assert set(cache.get("a", ["old", "new"])) == {"new"}
    assert cache.clear() == 1
    assert cache.contents().features == 0


@given(st.integers(0, 10**6), st.sampled_from(["", "B", "kB", "MB", "gb", " TB"]))
def test_sizes(number, unit):
    scale = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
    assert parse_size(f"{number}{unit}") == number * scale[unit.strip().lower()]


def test_the_environment_names_place_and_size(monkeypatch, tmp_path):
    monkeypatch.setenv("SYNOOD_CACHE", str(tmp_path / "here"))
    monkeypatch.setenv("SYNOOD_CACHE_SIZE", "3MB")
    assert open_cache().path == tmp_path / "here" / FILE
    assert open_cache().limit == 3_000_000
    monkeypatch.setenv("SYNOOD_CACHE_SIZE", "0")
    assert open_cache() is None
    monkeypatch.setenv("SYNOOD_CACHE_SIZE", "lots")
    with pytest.raises(InputError, match="SYNOOD_CACHE_SIZE: 'lots' is no size"):
        open_cache()
    monkeypatch.delenv("SYNOOD_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    if sys.platform == "linux":
        assert cache_folder() == tmp_path / "xdg" / "synood"
    assert space_of("print", "cuda:0") == space_of("print", "cuda:1") != space_of("print", "cpu")


# In use


@pytest.fixture
def kept(monkeypatch, tmp_path):
    """The cache turned on, in a folder of the test's own; and a count of encoded images."""
    monkeypatch.setenv("SYNOOD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SYNOOD_CACHE_SIZE", "50MB")
    torch.set_num_threads(1)
    encoded = []
    real = ClipEncoder.encode_images

    def counting(self, images, batch_size=64):
        encoded.append(len({image.tobytes() for image in images}))
        return real(self, images, batch_size)

    monkeypatch.setattr(ClipEncoder, "encode_images", counting)
    return encoded


def test_a_second_run_on_the_same_images_encodes_none_and_ends_alike(kept, bundle, tmp_path):
    images = make_pictures(tmp_path / "images")
    run(images, bundle, tmp_path / "first")
    assert sum(kept) == 15 + 6  # each training image, for its evidence, and each synthetic one
    kept.clear()
    run(images, bundle, tmp_path / "second")
    assert not kept
    assert contents(tmp_path / "second") == contents(tmp_path / "first")

    kept.clear()
    more = make_pictures(tmp_path / "more", seed=3)
    shutil.copy(more / "cat" / "4.png", images / "cat" / "4.png")
    run(images, bundle, tmp_path / "first", "guidance.rounds=1")
    assert main(["cache"]) == 0


def test_a_folder_scored_again_is_not_encoded_and_scores_the_same(kept, bundle, tmp_path, capsys):
    images = make_pictures(tmp_path / "images", count=3)
    OODDetector.from_classes(["cat", "dog"], bundle, ["car", "tree"]).save_pretrained(
        tmp_path / "detector"
    )
    score = ["score", str(tmp_path / "detector"), "--format", "jsonl"]

    assert main([*score, str(images)]) == 0
    first = capsys.readouterr().out
    assert sum(kept) == 9
    assert main([*score, str(images)]) == 0
    assert capsys.readouterr().out == first
    assert sum(kept) == 9
    one = images / "dog" / "1.png"
    os.environ["SYNOOD_CACHE_SIZE"] = "0"
    assert main([*score, str(one)]) == 0
    alone = capsys.readouterr().out.split('"score"')[1]
    assert alone in first  # encoded alone, among others and kept: the same bytes

    os.environ["SYNOOD_CACHE_SIZE"] = "50MB"
    assert main(["cache"]) == 0
    assert "11 features of 2 encoders" in capsys.readouterr().out
    assert main(["cache", "clear", "--older-than", "30d"]) == 0
    assert "0 features removed" in capsys.readouterr().out
    assert main(["cache", "clear", "--older-than", "soon"]) == 2
    assert main(["cache", "clear"]) == 0
    assert "11 features removed" in capsys.readouterr().out


# A folder with broken files in it


def test_a_broken_file_costs_no_other_its_score(bundle, tmp_path, capsys):
    images = make_pictures(tmp_path / "images", count=3)
    OODDetector.from_classes(["cat", "dog"], bundle, ["car", "tree"]).save_pretrained(
        tmp_path / "detector"
    )
    score = ["score", str(tmp_path / "detector"), str(images), "--format"]
    assert main([*score, "jsonl"]) == 0
    whole = capsys.readouterr().out.splitlines()
    (images / "cat" / "empty.png").touch()
    os.mkfifo(images / "cat" / "pipe.png")
    (images / os.fsdecode(b"caf\xe9.png")).write_bytes(b"none")

    assert main([*score, "jsonl"]) == 2
    shown = capsys.readouterr()
    lines = shown.out.splitlines()
    assert [line for line in lines if '"error"' not in line] == whole
    assert sum('"score": null' in line for line in lines) == 3
    assert "3 of 12 images have no score" in shown.err
    assert r"caf\\xe9.png" in shown.out

    assert main([*score, "table"]) == 2
    assert "the file is empty" in capsys.readouterr().out
    assert main([*score, "csv"]) == 2
    assert ",,,," in capsys.readouterr().out
    assert main(["calibrate", str(tmp_path / "detector"), "--id", str(images)]) == 2
