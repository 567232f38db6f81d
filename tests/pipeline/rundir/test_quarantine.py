"""Images that cannot be used, or vanish, or change while a run goes on: one outcome for each."""

from __future__ import annotations

import json
import os
import shutil
import socket
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from small_run import contents, run
from synood import InputError
from synood.features.unreadable import Unreadable, map_padded
from synood.files import read_jsonl
from synood.pipeline.rundir import shards
from synood.pipeline.rundir.quarantine import BadImage, Quarantine
from synood.pipeline.rundir.shards import read_synthetic
from synood.pipeline.rundir.workspace import open_run


@pytest.fixture(scope="module", autouse=True)
def quick():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "SHARD", 2)
        before = torch.get_num_threads()
        torch.set_num_threads(1)
        yield
        torch.set_num_threads(before)


@pytest.fixture(scope="module")
def first(bundle, images, tmp_path_factory):
    """A run that nothing happened to."""
    out = tmp_path_factory.mktemp("runs") / "first"
    run(images, bundle, out)
    return out


@pytest.fixture
def mine(images, tmp_path):
    return Path(shutil.copytree(images, tmp_path / "images"))


def pictures(out):
    return {one.id: one.path.read_bytes() for one in read_synthetic(out / "synthesize").values()}


def rows(out):
    path = out / "quarantine.jsonl"
    return read_jsonl(path) if path.exists() else []


# Broken before the run: as if it were not there


def bomb(path):
    def chunk(kind, data):
        checksum = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + checksum

    head = chunk(b"IHDR", struct.pack(">II5B", 50_000, 50_000, 8, 2, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", b"") + chunk(b"IEND", b""))


def half(path):
    noise = np.random.default_rng(1).integers(0, 255, (24, 32, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:-40])  # the header is whole


def bind(path):
    with socket.socket(socket.AF_UNIX) as server:
        here = Path.cwd()
        os.chdir(path.parent)  # the names of sockets are short
        try:
            server.bind(path.name)
        finally:
            os.chdir(here)


BROKEN = {
    "zero.png": (lambda path: path.write_bytes(b""), "empty"),
    "half.png": (half, "damaged or cut off"),
    "text.jpg": (lambda path: path.write_text("<html>"), "not an image"),
    "bomb.png": (bomb, "more than the limit"),
    "pipe.jpg": (os.mkfifo, "not a plain file"),
    "nowhere.png": (lambda path: path.symlink_to("gone.png"), "No such file"),
    "socket.png": (bind, "cannot be read"),
    os.fsdecode(b"caf\xe9.png"): (lambda path: path.write_bytes(b""), r"caf\xe9.png: the file"),
}


@pytest.fixture(scope="module")
def broken_run(bundle, images, tmp_path_factory):
    """A run beside whose pictures lie all kinds of broken ones, all of them in the choice."""
    root = tmp_path_factory.mktemp("broken")
    folder = Path(shutil.copytree(images, root / "images"))
    for name, (make, _) in BROKEN.items():
        make(folder / "dog" / name)
    run(folder, bundle, root / "out", max_bad=0.5)
    return folder, root / "out"


def test_each_broken_file_is_listed_and_nothing_else_changes(broken_run, first):
    _, out = broken_run
    found = {row["id"]: row for row in rows(out)}

    assert len(found) == len(BROKEN)
    for name, (_, reason) in BROKEN.items():
        shown = os.fsencode(name).decode("utf-8", "backslashreplace")
        row = found[f"dog/{shown}"]
        assert row["stage"] == "select"
        assert row["outcome"] == "not chosen"
        assert reason in row["reason"]
        assert row["path"].endswith(f"dog/{shown}")
    theirs = contents(out, but=("events.jsonl", ".lock", "quarantine.jsonl", "select.jsonl"))
    assert theirs == contents(first, but=("events.jsonl", ".lock", "select.jsonl"))
    chosen = [{**row, "inputs": ""} for row in read_jsonl(out / "select.jsonl")]
    assert chosen == [{**row, "inputs": ""} for row in read_jsonl(first / "select.jsonl")]


def test_what_is_read_another_way_counts_as_an_image(bundle, images, mine, tmp_path):
    """CMYK, 16 bits, palette with alpha, animation, turned, wrong suffix: all in the choice."""
    noise = np.random.default_rng(2).integers(0, 255, (24, 32, 3), dtype=np.uint8)
    rgb = Image.fromarray(noise)
    folder = mine / "cat"
    rgb.convert("CMYK").save(folder / "cmyk.jpg", quality=100)
    Image.fromarray(noise[:, :, 0].astype(np.uint16) * 257).save(folder / "deep.png")
    rgb.convert("P").save(folder / "palette.png", transparency=0)
    rgb.save(folder / "moving.gif", save_all=True, append_images=[rgb.rotate(90)])
    exif = Image.Exif()
    exif[0x0112] = 6
    rgb.save(folder / "turned.jpg", exif=exif, quality=100)
    rgb.save(folder / "wrong.jpg", format="PNG")

    run(mine, bundle, tmp_path / "out", "select.per_class=11", "guidance.rounds=1")

    assert not rows(tmp_path / "out")
    names = {"cmyk.jpg", "deep.png", "palette.png", "moving.gif", "turned.jpg", "wrong.jpg"}
    assert {f"cat/{name}" for name in names} <= set(pictures(tmp_path / "out"))


def test_run_again_keeps_the_list_and_another_limit_holds_at_once(broken_run, bundle, tmp_path):
    folder, out = broken_run
    again = Path(shutil.copytree(out, tmp_path / "again"))
    before = contents(again)

    run(folder, bundle, again, max_bad=0.5)
    assert contents(again) == before
    with pytest.raises(InputError, match=r"8 of 23 images cannot be used, more than the 10%"):
        run(folder, bundle, again, max_bad=0.1)
    assert contents(again / "detector") == contents(out / "detector")


def test_mended_files_leave_the_list(broken_run, bundle, images, tmp_path, first):
    _, out = broken_run
    again = Path(shutil.copytree(out, tmp_path / "again"))
    run(images, bundle, again)
    assert contents(again) == contents(first)


def test_too_many_stop_it_with_a_sentence_that_counts(bundle, mine, tmp_path):
    for name in ("0.png", "1.png"):
        (mine / "tree" / name).write_bytes(b"")
    with pytest.raises(InputError) as raised:
        run(mine, bundle, tmp_path / "out")
    assert "2 of 15 images cannot be used, more than the 5% that --max-bad allows" in str(
        raised.value
    )
    assert "tree/0.png: the file is empty" in str(raised.value)
    assert [row["id"] for row in rows(tmp_path / "out")] == ["tree/0.png", "tree/1.png"]


def test_a_single_one_stops_nothing_unless_none_is_allowed(bundle, mine, tmp_path):
    (mine / "tree" / "0.png").write_bytes(b"")
    run(mine, bundle, tmp_path / "out", "guidance.rounds=1")
    assert len(rows(tmp_path / "out")) == 1
    with pytest.raises(InputError, match=r"tree/0\.png"):
        run(mine, bundle, tmp_path / "strict", max_bad=0)
    with pytest.raises(InputError, match="fraction from 0 to 1"):
        run(mine, bundle, tmp_path / "strict", max_bad=1.5)


# Gone or changed while the run goes on


def vanish(path):
    path.unlink()


def change(path):
    Image.new("RGB", (32, 24), "red").save(path)


def empty(path):
    path.write_bytes(b"")


@pytest.mark.parametrize("harm", [vanish, change, empty])
@pytest.mark.parametrize("after", ["features", "describe"])
def test_an_image_that_goes_away_takes_nobody_with_it(first, bundle, mine, tmp_path, after, harm):
    victim = mine / "dog" / "4.png"

    def progress(stage, done, total, message):
        if stage == after and total and done == total and not gone:
            gone.append(harm(victim))

    gone = []
    run(mine, bundle, tmp_path / "out", progress=progress)

    (row,) = rows(tmp_path / "out")
    assert (row["id"], row["stage"]) == ("dog/4.png", "synthesize")
    theirs, own = pictures(first), pictures(tmp_path / "out")
    assert own == {name: data for name, data in theirs.items() if name != "dog/4.png"}
    assert json.loads((tmp_path / "out/detector/config.json").read_text())["format"]


@pytest.mark.parametrize("harm", [vanish, change, empty])
def test_an_image_that_was_redrawn_is_not_read_again(first, bundle, mine, tmp_path, harm):
    def progress(stage, done, total, message):
        if stage == "synthesize" and total and done == total and not gone:
            gone.append(harm(mine / "dog" / "4.png"))

    gone = []
    run(mine, bundle, tmp_path / "out", progress=progress)
    assert not rows(tmp_path / "out")
    assert contents(tmp_path / "out" / "detector") == contents(first / "detector")


def test_an_image_that_goes_away_while_images_are_chosen_is_not_chosen(bundle, mine, tmp_path):
    def progress(stage, done, total, message):
        if stage == "select" and total and done == total and not gone:
            gone.append(vanish(mine / "dog" / "4.png"))

    gone = []
    run(mine, bundle, tmp_path / "out", progress=progress)
    (row,) = rows(tmp_path / "out")
    assert (row["id"], row["stage"]) == ("dog/4.png", "select")
    made = read_synthetic(tmp_path / "out/synthesize").values()
    assert sorted(one.id for one in made if one.id.startswith("dog")) == ["dog/2.png", "dog/3.png"]


def test_a_target_that_depends_on_all_is_that_of_those_left(bundle, mine, tmp_path):
    def progress(stage, done, total, message):
        if stage == "describe" and total and done == total:
            (mine / "dog" / "4.png").unlink(missing_ok=True)

    quantile = "guidance.target_quantile=0.5"
    run(mine, bundle, tmp_path / "out", quantile, progress=progress)

    made = read_synthetic(tmp_path / "out/synthesize").values()
    told = [r["target"] for r in read_jsonl(tmp_path / "out/events.jsonl") if "target" in r]
    assert len(made) == 5
    assert told == [pytest.approx(np.quantile([p.source_energy for p in made], 0.5), abs=1e-5)]


def test_all_gone_stop_the_run(bundle, mine, tmp_path):
    def progress(stage, done, total, message):
        if stage == "describe" and total and done == total:
            shutil.rmtree(mine, ignore_errors=True)

    with pytest.raises(InputError, match="cannot be used, more than"):
        run(mine, bundle, tmp_path / "out", progress=progress)


# Parts


def test_rows_stand_in_an_order_of_their_own(tmp_path):
    with open_run(tmp_path / "run") as workspace:
        quarantine = Quarantine(workspace, 1.0)
        quarantine.begin("print", 9)
        quarantine.chosen(9)
        quarantine("embed", [BadImage("b", Path("b"), "b: gone")])
        quarantine(
            "select", [BadImage("z", Path("z"), "z: gone"), BadImage("a", Path("a"), "a: gone")]
        )
        quarantine("select", [BadImage("a", Path("a"), "a: another reason")])
    found = [(row["stage"], row["id"], row["reason"]) for row in rows(tmp_path / "run")]
    assert found == [
        ("select", "a", "a: gone"),
        ("select", "z", "z: gone"),
        ("embed", "b", "b: gone"),
    ]


def test_stand_ins_keep_the_size_of_a_batch():
    seen = []

    def work(batch):
        seen.append(list(batch))
        return [value * 10 for value in batch]

    assert map_padded([Unreadable("x"), 2, 3], work, 5) == [Unreadable("x"), 20, 30]
    assert map_padded([4], work) == [40]
    assert map_padded([Unreadable("x")], work, 5) == [Unreadable("x")]
    assert seen == [[2, 2, 3, 2, 2], [4]]
