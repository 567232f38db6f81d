"""Exported pictures, opened by the tools that they are for."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
import tomllib

import numpy as np
import pytest
from PIL import Image

from bundling import CLASSES, tiny_bundle
from small_run import PER_CLASS, contents, make_pictures, run
from synood import InputError
from synood.cli.app import main
from synood.files import read_jsonl, sha256_bytes, sha256_file
from synood.images.imglist import read_imglist
from synood.images.sources import folder_per_class
from synood.pipeline.export.formats import folder_names
from synood.pipeline.export.images import export_images
from synood.pipeline.rundir.shards import read_synthetic

COUNT = len(CLASSES) * PER_CLASS


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    root = tmp_path_factory.mktemp("export")
    bundle = tiny_bundle(root / "bundle", inpainter=True)
    run(make_pictures(root / "images"), bundle, root / "run")
    return root / "run"


@pytest.fixture(scope="module")
def rows(finished):
    """What the run's own files say of each picture, put together here by id."""
    chosen = {row["id"]: row for row in read_jsonl(finished / "select.jsonl")}
    made = {one.id: one for one in read_synthetic(finished / "synthesize").values()}
    return [
        {
            "class": chosen[row["id"]]["label"],
            "negative_label": row["prompt"],
            "prompt": made[row["id"]].prompt,
            "energies": list(made[row["id"]].energies),
            "losses": list(made[row["id"]].losses),
            "source_energy": made[row["id"]].source_energy,
            "stop": made[row["id"]].stop,
            "seed": made[row["id"]].seed,
            "source": row["id"],
            "source_sha256": chosen[row["id"]]["sha256"],
            "sha256": made[row["id"]].sha256,
        }
        for row in read_jsonl(finished / "assign.jsonl")
    ]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """Hugging Face datasets keep their copies out of the home directory."""
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))


def same(found: dict, expected: dict) -> bool:
    return {key: found[key] for key in expected} == expected


def pixels(finished, sha256: str) -> np.ndarray:
    paths = (finished / "synthesize").rglob("*.png")
    return np.asarray(Image.open(next(path for path in paths if sha256_file(path) == sha256)))


# Folders


def test_folder_holds_pictures_manifest_and_imglist(finished, rows, tmp_path):
    assert export_images(finished, tmp_path / "out") == COUNT

    manifest = read_jsonl(tmp_path / "out" / "metadata.jsonl")
    assert all(same(*pair) for pair in zip(manifest, rows, strict=True))
    for row in manifest:
        assert sha256_file(tmp_path / "out" / row["file_name"]) == row["sha256"]
        assert row["class"] == CLASSES[row["class_number"]]
    index = read_imglist(tmp_path / "out" / "imglist.txt", tmp_path / "out")
    assert [record.id for record in index.records] == [row["file_name"] for row in manifest]
    assert {record.label for record in index.records} == {None}
    assert folder_per_class(tmp_path / "out").class_names == CLASSES


def test_hugging_face_opens_the_folder(finished, rows, tmp_path):
    from datasets import load_dataset

    export_images(finished, tmp_path / "out")

    found = load_dataset(str(tmp_path / "out"), split="train")

    assert all(same(row, expected) for row, expected in zip(found, rows, strict=True))
    for row in found:
        np.testing.assert_array_equal(np.asarray(row["image"]), pixels(finished, row["sha256"]))


# Shards


def test_webdataset_opens_the_tar_shards(finished, rows, tmp_path):
    import webdataset

    export_images(finished, tmp_path / "out", "webdataset", per_shard=4)

    shards = sorted(str(path) for path in (tmp_path / "out").glob("*.tar"))
    assert len(shards) == 2
    found = list(webdataset.WebDataset(shards, shardshuffle=False).decode("rgb8"))
    assert [one["__key__"] for one in found] == [f"{number:06d}" for number in range(COUNT)]
    for one, expected in zip(found, rows, strict=True):
        assert same(one["json"], expected)
        assert CLASSES[one["cls"]] == expected["class"]
        np.testing.assert_array_equal(one["png"], pixels(finished, expected["sha256"]))


def test_hugging_face_opens_the_tar_shards(finished, rows, tmp_path):
    from datasets import load_dataset

    export_images(finished, tmp_path / "out", "webdataset")

    found = load_dataset(str(tmp_path / "out"), split="train")

    assert all(same(one["json"], expected) for one, expected in zip(found, rows, strict=True))
    assert found[0]["png"].size == (32, 32)


def test_tar_shards_name_no_time_and_no_owner(finished, tmp_path):
    export_images(finished, tmp_path / "out", "webdataset")
    with tarfile.open(tmp_path / "out" / "pictures-000000.tar") as shard:
        members = shard.getmembers()
        assert {(m.mtime, m.uid, m.gid, m.uname, m.mode) for m in members} == {(0, 0, 0, "", 0o644)}
        data = shard.extractfile(members[0]).read()
    assert sha256_bytes(data) in {
        one.sha256 for one in read_synthetic(finished / "synthesize").values()
    }


def test_hugging_face_opens_the_parquet_shards(finished, rows, tmp_path):
    from datasets import ClassLabel, load_dataset

    export_images(finished, tmp_path / "out", "parquet", per_shard=4)

    names = [path.name for path in sorted((tmp_path / "out").glob("*.parquet"))]
    assert names == ["pictures-00000-of-00002.parquet", "pictures-00001-of-00002.parquet"]
    found = load_dataset(str(tmp_path / "out"), split="train")
    assert found.features["class"] == ClassLabel(names=list(CLASSES))
    for row, expected in zip(found, rows, strict=True):
        assert same(row, {**expected, "class": CLASSES.index(expected["class"])})
        np.testing.assert_array_equal(np.asarray(row["image"]), pixels(finished, row["sha256"]))


def test_pyarrow_reads_the_very_bytes_of_the_files(finished, rows, tmp_path):
    import pyarrow.parquet as pq

    export_images(finished, tmp_path / "out", "parquet")
    table = pq.read_table(tmp_path / "out" / "pictures-00000-of-00001.parquet")
    found = [sha256_bytes(row["bytes"]) for row in table["image"].to_pylist()]
    assert found == [row["sha256"] for row in rows]


# The card, the bytes, what is refused


@pytest.mark.parametrize("form", ["folder", "webdataset", "parquet"])
def test_same_run_gives_same_bytes_and_replaces_an_earlier_export(finished, tmp_path, form):
    export_images(finished, tmp_path / "one", form)
    export_images(finished, tmp_path / "two", "folder")
    export_images(finished, tmp_path / "two", form)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "two"]


def test_card_says_where_the_pictures_come_from_and_its_header_is_read(finished, tmp_path):
    from huggingface_hub import DatasetCard

    export_images(finished, tmp_path / "out", "parquet")
    text = (tmp_path / "out" / "README.md").read_text()
    card = DatasetCard(text)

    assert card.data.license == "other"
    assert "synthetic" in card.data.tags
    assert card.data.configs[0]["data_files"] == "pictures-*.parquet"
    document = tomllib.loads((finished / "run.toml").read_text())
    assert document["inputs"]["fingerprint"] in text
    assert "num_inference_steps = 4" in text
    assert "- inpainter: `inpainter`" in text
    assert f"{COUNT} images, {PER_CLASS} to {PER_CLASS} for each class" in text


def test_folders_of_odd_class_names_stay_inside_and_apart():
    odd = ["../up", "a/b", "a b", "A B", "", ".", "née", "con\0trol", "a_b_2"]
    names = folder_names(odd)
    assert len({name.casefold() for name in names}) == len(odd)
    assert not any("/" in name or "\0" in name or name.startswith(".") for name in names)


def test_an_unfinished_or_foreign_directory_is_refused(finished, tmp_path, capsys):
    with pytest.raises(InputError, match=r"no run\.toml"):
        export_images(tmp_path, tmp_path / "out")
    part = shutil.copytree(finished, tmp_path / "part")
    (part / "assign.jsonl").unlink()
    with pytest.raises(InputError, match="let `synood fit` finish"):
        export_images(part, tmp_path / "out")
    holed = shutil.copytree(finished, tmp_path / "holed")
    next((holed / "synthesize").rglob("*.png")).write_bytes(b"damaged")
    with pytest.raises(InputError, match="run `synood fit` again"):
        export_images(holed, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("mine")
    words = ["synthesize", str(finished), "--export", str(tmp_path / "mine")]
    assert main(words) == 2
    assert "is not empty" in capsys.readouterr().err
    assert main([*words, "--overwrite"]) == 2  # no export of ours: left alone all the same
    assert "holds other things" in capsys.readouterr().err
    assert (tmp_path / "mine" / "file").read_text() == "mine"


def test_the_command_says_what_it_wrote(finished, tmp_path, capsys):
    words = ["synthesize", finished, "--export", tmp_path / "out", "--format", "webdataset"]
    assert main([*map(str, words), "--per-shard", "5"]) == 0
    assert f"{COUNT} synthetic images" in capsys.readouterr().out
    assert len(list((tmp_path / "out").glob("*.tar"))) == 2
    with tarfile.open(tmp_path / "out" / "pictures-000001.tar") as shard:
        row = json.load(shard.extractfile("000005.json"))
        png = shard.extractfile("000005.png").read()
    assert sha256_bytes(png) == row["sha256"]
    assert Image.open(io.BytesIO(png)).size == (32, 32)


def test_an_export_with_a_file_of_somebody_is_left_alone(finished, tmp_path):
    out = tmp_path / "export"
    export_images(finished, out, "folder")
    export_images(finished, out, "webdataset")  # over an export alone
    (out / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"holds other things \(notes\.txt\)"):
        export_images(finished, out, "folder")
    assert (out / "notes.txt").read_text() == "mine"
