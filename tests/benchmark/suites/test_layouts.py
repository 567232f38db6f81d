"""Benchmarks by name: found where their owners put them, and told apart from anything else."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from made_up import (
    EACH,
    NAMES,
    OOD,
    WNIDS,
    write_clean,
    write_imagenet,
    write_mos,
    write_openood,
)
from small_suite import write_small_suite
from synood.benchmark.suites import catalog
from synood.benchmark.suites.layouts import open_benchmark
from synood.benchmark.suites.verify import check_benchmark, list_hash, names_hash
from synood.cli.app import main
from synood.errors import InputError


@pytest.fixture
def mos(tmp_path):
    write_imagenet(tmp_path / "ImageNet")
    write_mos(tmp_path)
    return tmp_path


@pytest.fixture
def openood(tmp_path):
    write_openood(tmp_path)
    return tmp_path


def shrink(monkeypatch, name, root):
    """Let the owners' set be what is on disk now, so that a check of it finds nothing amiss."""
    found = {item.name: item.found for item in check_benchmark(name, root).sets}
    sets = []
    for known in catalog.BENCHMARKS[name].sets:
        hash_ = None
        if known.imglist:
            hash_ = list_hash((root / known.imglist).read_bytes())
        sets.append(replace(known, count=found[known.name], list_hash=hash_, names_hash=None))
    small = replace(catalog.BENCHMARKS[name], sets=tuple(sets))
    monkeypatch.setitem(catalog.BENCHMARKS, name, small)


def problems(name, root):
    return {item.name: item.problems for item in check_benchmark(name, root).sets if not item.ok}


def test_the_mos_layout_becomes_a_suite_with_roles_and_groups(mos):
    suite = open_benchmark("imagenet-4", mos)
    assert not suite.validated
    train, test = suite.one("train"), suite.one("test")
    assert (train.n, test.n) == (len(WNIDS) * EACH["train"], len(WNIDS) * EACH["val"])
    assert train.index().class_names == NAMES
    assert [item.name for item in suite.ood("test")] == ["iNaturalist", "SUN", "Places", "Textures"]
    assert {item.group for item in suite.ood("test")} == {"far"}
    assert [item.n for item in suite.ood("test")] == [OOD, OOD, OOD, 2 * OOD]
    with pytest.raises(InputError, match="no in-distribution images for validation"):
        suite.one("validation")


@pytest.mark.parametrize(
    ("imagenet", "ood", "textures"),
    [
        ("dataset/id_data/ILSVRC-2012", "dataset/ood_data", "dtd/images"),  # MOS
        ("ImageNet", "ImageNet_OOD_dataset", "dtd/images"),  # MCM, below datasets/
        (".", "ood_data", "Textures/dtd/images_collate"),  # NegLabel, below data/
        ("images_largescale/imagenet_1k", "", "Textures/images"),
    ],
)
def test_the_habits_of_other_repositories_are_found(tmp_path, imagenet, ood, textures):
    write_imagenet(tmp_path / imagenet)
    write_mos(tmp_path / ood, textures)
    suite = open_benchmark("imagenet-4", tmp_path)
    assert [item.n for item in suite.ood("test")] == [OOD, OOD, OOD, 2 * OOD]
    assert not any(item.place is None for item in check_benchmark("imagenet-4", tmp_path).sets)


def test_validation_images_of_imagenet_may_lie_flat(mos):
    flat = mos / "ImageNet/val"
    for number, path in enumerate(sorted(flat.rglob("*.png"))):
        path.rename(flat / f"ILSVRC2012_val_{number:08d}.png")
    for wnid in WNIDS:
        (flat / wnid).rmdir()
    index = open_benchmark("imagenet-4", mos, roles=("test",)).one("test").index()
    assert len(index.records) == len(WNIDS) * EACH["val"]
    assert {record.label for record in index.records} == {None}


def test_the_authors_names_can_be_asked_for(mos):
    suite = open_benchmark("imagenet-4", mos, naming="synood")
    assert suite.one("train").index().class_names == ("tench", "missile", "projectile")


def test_a_folder_that_is_no_class_is_refused(mos):
    (mos / "ImageNet/train/n99999999").mkdir()
    with pytest.raises(InputError, match="n99999999: is not a class of ImageNet-1k"):
        open_benchmark("imagenet-4", mos)


def test_only_the_sets_asked_for_must_be_there(tmp_path):
    write_imagenet(tmp_path)
    assert open_benchmark("imagenet-4", tmp_path, roles=("train",)).one("train").n == 12
    with pytest.raises(InputError) as error:
        open_benchmark("imagenet-4", tmp_path, roles=("test",))
    assert "iNaturalist/images: missing" in str(error.value)
    assert "huangrui/imagenet_ood_dataset/iNaturalist.tar.gz" in str(error.value)


def test_openood_is_read_through_its_lists(openood):
    suite = open_benchmark("openood", openood)
    assert suite.validated
    assert [item.name for item in suite.ood("test")] == [
        "SSB-hard", "NINCO", "iNaturalist", "Textures", "OpenImage-O",
    ]  # fmt: skip
    assert [item.group for item in suite.ood("test")] == ["near", "near", "far", "far", "far"]
    assert [item.n for item in suite.ood("test")] == [OOD] * 5  # one more lies in each folder
    assert [item.name for item in suite.ood("validation")] == ["OpenImage-O, held out"]
    assert (suite.one("validation").n, suite.one("test").n) == (3, 9)
    first = suite.one("train").index().records[0]
    assert first.path == openood / "images_largescale/imagenet_1k/train/n01440764/0000.png"
    labels = {record.label for record in suite.one("train").index().records}
    assert labels == set(NAMES)
    assert suite.one("train").index().class_names == NAMES


def test_a_whole_root_is_all_there(mos, monkeypatch, capsys):
    shrink(monkeypatch, "imagenet-4", mos)
    assert check_benchmark("imagenet-4", mos).ok
    assert main(["benchmark", "check", "imagenet-4", "--root", str(mos)]) == 0
    assert capsys.readouterr().out.endswith("complete\n")


def test_a_missing_set_a_wrong_count_and_where_to_get_them(mos, monkeypatch, capsys):
    shrink(monkeypatch, "imagenet-4", mos)
    (mos / "SUN").rename(mos / "moon")
    (mos / "Places/images/0003.png").unlink()
    found = problems("imagenet-4", mos)
    assert list(found) == ["SUN", "Places"]
    assert "missing; looked for SUN/images, SUN, ood_data/SUN/images" in found["SUN"][0]
    assert found["Places"] == ("4 images, the owners' set has 5",)

    command = ["benchmark", "check", "imagenet-4", "--root", str(mos)]
    assert main([*command, "--format", "json"]) == 2
    report = json.loads(capsys.readouterr().out)
    assert report["ok"] is False
    assert [item["name"] for item in report["sets"] if not item["ok"]] == ["SUN", "Places"]
    assert main(command) == 2
    text = capsys.readouterr().out
    assert "get SUN: http://pages.cs.wisc.edu/~huangrui/imagenet_ood_dataset/SUN.tar.gz" in text
    assert "2 of 6 sets are incomplete" in text


def test_a_damaged_list_and_a_lost_picture_are_told(openood, monkeypatch):
    shrink(monkeypatch, "openood", openood)
    assert problems("openood", openood) == {}
    lists = openood / "benchmark_imglist/imagenet"
    ninco = lists / "test_ninco.txt"
    ninco.write_text(ninco.read_text().replace("0002.png", "0005.png"))
    textures = lists / "test_textures.txt"
    textures.write_bytes(b"\r\n".join(reversed(textures.read_bytes().split(b"\n"))))
    (lists / "test_ssb_hard.txt").unlink()
    (openood / "images_largescale/inaturalist/images/0001.png").unlink()
    found = problems("openood", openood)
    assert list(found) == ["SSB-hard", "NINCO", "iNaturalist"]  # another order is no damage
    assert "test_ssb_hard.txt: no such file" in found["SSB-hard"][0]
    assert "test_ninco.txt: not the owners' list" in found["NINCO"][0]
    assert "1 listed images are missing, the first" in found["iNaturalist"][0]
    assert "inaturalist/images/0001.png" in found["iNaturalist"][0]


def test_a_list_that_names_no_class_is_a_problem_and_no_crash(openood):
    (openood / "benchmark_imglist/imagenet/val_imagenet.txt").write_text("a.png 1000\n")
    (problem, *_) = problems("openood", openood)["ImageNet val, held out"]
    assert "not the owners' list" in problem


def test_other_pictures_under_the_right_number_are_told_by_their_names(mos, monkeypatch):
    shrink(monkeypatch, "imagenet-4", mos)
    benchmark = catalog.BENCHMARKS["imagenet-4"]
    owners = names_hash(f"{number:04d}.png" for number in range(OOD))
    sets = tuple(
        replace(known, names_hash=owners) if known.name in ("SUN", "Places") else known
        for known in benchmark.sets
    )
    monkeypatch.setitem(catalog.BENCHMARKS, "imagenet-4", replace(benchmark, sets=sets))
    (mos / "SUN/images/0000.png").rename(mos / "SUN/images/x.png")
    assert problems("imagenet-4", mos) == {
        "SUN": ("the file names differ from the owners'",),
    }


def test_the_owners_names_of_imagenet_val_are_the_known_ones():
    names = (f"ILSVRC2012_val_{number:08d}.JPEG" for number in range(1, 50_001))
    val = next(known for known in catalog.BENCHMARKS["clean"].sets if known.role == "test")
    assert val.names_hash == names_hash(names)


def test_the_cleaned_sets_and_imagenet_o(tmp_path):
    write_imagenet(tmp_path / "ImageNet")
    write_clean(tmp_path)
    suite = open_benchmark("clean", tmp_path)
    assert [(item.name, item.group) for item in suite.ood("test")] == [
        ("NINCO", "near"), ("iNaturalist", "far"), ("OpenImage-O", "far"), ("Clean", "far"),
    ]  # fmt: skip
    assert "ImageNet-O" in problems("imagenet-o", tmp_path)


def test_the_mini_world_is_checked_where_it_was_written(tmp_path, monkeypatch):
    monkeypatch.setenv("SYNOOD_CACHE", str(tmp_path))
    write_small_suite(tmp_path / "mini", split="hard")
    assert main(["benchmark", "check", "mini"]) == 0
    assert open_benchmark("mini").split == "hard"
    (tmp_path / "mini/test/far/faces/0003.png").unlink()
    assert list(problems("mini", None)) == ["faces"]


def test_unknown_names_and_roots_are_refused(tmp_path, capsys):
    assert main(["benchmark", "check", "imagenet"]) == 2
    assert "use one of mini, mini-main, mini-crowded, imagenet-4" in capsys.readouterr().err
    assert main(["benchmark", "check", "clean"]) == 2
    assert "--root DIR" in capsys.readouterr().err
    assert main(["benchmark", "check", "clean", "--root", str(tmp_path / "none")]) == 2
    assert "no such folder" in capsys.readouterr().err


def test_the_list_of_benchmarks_is_text_and_json(capsys):
    assert main(["benchmark", "list"]) == 0
    assert "SSB-hard" in capsys.readouterr().out
    assert main(["benchmark", "list", "--format", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in rows][:3] == ["mini", "mini-main", "mini-crowded"]
    counts = {known["name"]: known["count"] for row in rows for known in row["sets"]}
    assert counts["SSB-hard"] == 49_000


def test_an_embedded_benchmark_needs_nothing_and_a_damaged_one_is_told(tmp_path, capsys):
    place = tmp_path / "suite"
    assert main(["benchmark", "check", "mini", "--root", str(place)]) == 0
    text = capsys.readouterr().out
    assert "embedded: written when it is first used" in text
    assert "MISSING" not in text
    assert not place.exists()
    place.mkdir()
    (place / "suite.json").write_text("{}")
    assert main(["benchmark", "check", "mini", "--root", str(place)]) == 2
    assert f"delete {place}" in capsys.readouterr().out
