"""A run's copy at a URL: kept while the run goes on, taken up by a machine that has nothing."""

from __future__ import annotations

import json
from pathlib import Path

import fsspec
import pytest
import torch

from small_run import contents, run
from synood import InputError
from synood.cli.app import main
from synood.files import read_jsonl
from synood.pipeline.export.images import export_images
from synood.pipeline.rundir import mirror as _mirror
from synood.pipeline.rundir import shards
from synood.pipeline.rundir.mirror import Mirror


@pytest.fixture(scope="module", autouse=True)
def quickly():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "SHARD", 2)
        patch.setattr(_mirror, "EVERY", 0.0)
        yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def finished(bundle, images, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "run"
    run(images, bundle, out)
    return out


@pytest.fixture(params=["memory://copies/run", "file://{}/copies/run"])
def url(request, tmp_path):
    yield request.param.format(tmp_path)
    fsspec.filesystem("memory").rm("/", recursive=True)


def stored(url: str) -> dict[str, bytes]:
    """Every file at `url` by its path below it."""
    system, root = fsspec.core.url_to_fs(url)
    return {path.removeprefix(f"{root}/"): system.cat_file(path) for path in system.find(root)}


def test_the_copy_is_the_directory_and_its_list_holds_the_hashes(
    bundle, images, finished, tmp_path, url
):
    run(images, bundle, tmp_path / "run", mirror=url)

    assert contents(tmp_path / "run") == contents(finished)
    files = stored(url)
    listed = json.loads(files.pop("mirror.json"))["files"]
    here = contents(tmp_path / "run", but=(".lock",))
    assert listed == here
    assert files == {name: (tmp_path / "run" / name).read_bytes() for name in here}


def test_a_machine_that_has_nothing_goes_on_where_another_was_lost(
    bundle, images, finished, tmp_path, url
):
    class MachineLost(BaseException):
        pass

    def lost(stage: str, done: int, total: int, message: str) -> None:
        if stage == "synthesize" and done >= 5:
            raise MachineLost

    with pytest.raises(MachineLost):
        run(images, bundle, tmp_path / "one", mirror=url, progress=lost)
    run(images, bundle, tmp_path / "two", mirror=url)

    assert contents(tmp_path / "two") == contents(finished)
    events = read_jsonl(tmp_path / "two" / "events.jsonl")
    start = max(row for row, event in enumerate(events) if event["event"] == "restored")
    assert sum(row["images"] for row in events[start:] if row["event"] == "shard") == 2
    assert set(json.loads(stored(url)["mirror.json"])["files"]) == set(
        contents(tmp_path / "two", but=(".lock",))
    )


def test_what_was_cut_off_or_altered_at_the_url_is_made_anew(
    bundle, images, finished, tmp_path, url
):
    run(images, bundle, tmp_path / "one", mirror=url)
    system, root = fsspec.core.url_to_fs(url)
    pictures = sorted(path for path in system.find(root) if path.endswith(".png"))
    system.pipe_file(pictures[0], b"half")
    system.rm_file(pictures[-1])
    system.pipe_file(f"{root}/stray.part", b"cut off")

    run(images, bundle, tmp_path / "two", mirror=url)

    assert contents(tmp_path / "two") == contents(finished)


def test_only_what_is_new_is_sent_and_what_is_gone_is_removed(finished, tmp_path, monkeypatch):
    root = tmp_path / "root"
    root.mkdir()
    for name in ("a", "b"):
        (root / name).write_text(name)
    sent = []
    put = _mirror._put
    monkeypatch.setattr(_mirror, "_put", lambda s, p, t: (sent.append(p.name), put(s, p, t)))
    mirror = Mirror(root, "memory://small")
    mirror.copy()
    (root / "a").unlink()
    (root / "c").write_text("c")
    (root / ".lock").write_text("1")
    mirror.copy()
    Mirror(root, "memory://small").copy()

    assert sent == ["a", "b", "c"]
    assert set(stored("memory://small")) == {"b", "c", "mirror.json"}


def test_a_list_that_leads_out_or_is_broken_is_refused(tmp_path):
    system = fsspec.filesystem("memory")
    for name in ("../out", "/out", "a/../../out", "a\\b", ""):
        text = json.dumps({"schema": 1, "files": {name: "0"}})
        system.pipe_file("/bad/mirror.json", text.encode())
        with pytest.raises(InputError, match="is outside"):
            Mirror(tmp_path, "memory://bad").restore()
    for text in ("[]", "{", '{"schema": 2, "files": {}}', '{"schema": 1, "files": []}'):
        system.pipe_file("/bad/mirror.json", text.encode())
        with pytest.raises(InputError, match=r"mirror\.json: cannot be used"):
            Mirror(tmp_path, "memory://bad")


def test_trouble_on_the_way_is_told_and_tried_again(
    bundle, images, finished, tmp_path, monkeypatch
):
    failing = [True] * 3
    put = _mirror._put

    def sometimes(system, path, target):
        if failing:
            failing.pop()
            raise OSError("the network is away")
        put(system, path, target)

    monkeypatch.setattr(_mirror, "_put", sometimes)
    told = []
    run(
        images,
        bundle,
        tmp_path / "run",
        mirror="memory://flaky",
        progress=lambda stage, done, total, message: told.append((stage, message)),
    )
    assert [stage for stage, _ in told].count("mirror") == 3
    assert (
        "memory://flaky: cannot be written (the network is away)"
        in told[[s for s, _ in told].index("mirror")][1]
    )
    assert set(json.loads(stored("memory://flaky")["mirror.json"])["files"]) == set(
        contents(tmp_path / "run", but=(".lock",))
    )


@pytest.mark.parametrize("mirror", ["elsewhere/run", "nonsense://there"])
def test_a_mirror_that_is_no_url_is_refused_before_any_work(
    bundle, images, tmp_path, mirror, capsys
):
    with pytest.raises(InputError, match=mirror):
        run(images, bundle, tmp_path / "run", mirror=mirror)
    assert not (tmp_path / "run").exists()


def test_pictures_are_exported_to_a_url_as_to_a_folder(finished, tmp_path, url, capsys):
    export_images(finished, tmp_path / "out")
    export_images(finished, Path(f"{url}/out"), "webdataset", per_shard=2)
    words = ["synthesize", str(finished), "--export", f"{url}/out"]
    assert main(words) == 2
    assert "is not empty" in capsys.readouterr().err
    assert main([*words, "--overwrite"]) == 0

    here = {name: (tmp_path / "out" / name).read_bytes() for name in contents(tmp_path / "out")}
    assert stored(f"{url}/out") == here

    fsspec.open(f"{url}/mine/file", "wb", auto_mkdir=True).open().close()
    assert main(["synthesize", str(finished), "--export", f"{url}/mine", "--overwrite"]) == 2
    assert "holds other things" in capsys.readouterr().err
