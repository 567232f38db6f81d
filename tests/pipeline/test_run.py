"""The pipeline as a whole, on real tiny checkpoints: what it writes, redoes, refuses, survives."""

from __future__ import annotations

import json
import os
import shutil
import signal
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bundling import CLASSES, change_spec, tiny_bundle
from small_run import PER_CLASS, contents, run
from synood import InputError, OODDetector
from synood.files import read_jsonl, write_jsonl
from synood.models.bundles import load_bundle
from synood.pipeline.recipe import RECIPES
from synood.pipeline.run import STAGES
from synood.pipeline.rundir import shards
from synood.pipeline.rundir.shards import read_synthetic
from synood.pipeline.rundir.workspace import open_run
from synood.pipeline.stages.synthesize import image_seed
from synood.scores import cosine_similarity
from synood.tuning.negatives import tune_negatives
from synood.tuning.projection import tune_projection

pytestmark = pytest.mark.numerical


@pytest.fixture(autouse=True)
def one_thread():
    """Forked children must not wait for threads that only the parent has."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(shards, "SHARD", 2)


@pytest.fixture(scope="module")
def first(bundle, images, tmp_path_factory):
    """One whole run that others are compared with; nobody may write to it."""
    out = tmp_path_factory.mktemp("runs") / "first"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "SHARD", 2)
        torch.set_num_threads(1)
        run(images, bundle, out)
    return out


@pytest.fixture
def again(first, tmp_path):
    """A copy of the first run that may be continued."""
    return Path(shutil.copytree(first, tmp_path / "again"))


def pictures(out: Path) -> dict[str, str]:
    return {p.id: p.sha256 for p in read_synthetic(out / "synthesize").values()}


def pixels(out: Path) -> dict[str, np.ndarray]:
    found = read_synthetic(out / "synthesize").values()
    return {p.id: np.asarray(Image.open(p.path), int) for p in found}


def painted(out: Path) -> int:
    """Pictures painted by the last call."""
    rows = read_jsonl(out / "events.jsonl")
    start = max(i for i, row in enumerate(rows) if row["event"] == "start")
    return sum(row["images"] for row in rows[start:] if row["event"] == "shard")


# What a run leaves


def test_a_run_leaves_what_the_architecture_says(first):
    names = {path.name for path in first.iterdir()}
    assert names >= {"run.toml", "events.jsonl", "select.jsonl", "describe.jsonl"}
    assert names >= {"synthesize", "features", "detector"}
    suffixes = {path.suffix for path in first.rglob("*") if path.is_file()} - {""}
    assert suffixes == {".toml", ".jsonl", ".json", ".png", ".safetensors", ".txt", ".md"}
    assert not list(first.rglob(".*part")) + list(first.rglob(".*old"))


def test_rows_tell_how_each_picture_came_about(first, images):
    chosen = [row for row in read_jsonl(first / "select.jsonl") if "tune" in row["uses"]]
    assert [row["label"] for row in chosen] == [name for name in CLASSES for _ in range(PER_CLASS)]
    for name in CLASSES:
        sizes = {p.stat().st_size: p.name for p in (images / name).iterdir()}
        largest = {sizes[size] for size in sorted(sizes)[-PER_CLASS:]}
        assert {row["id"].split("/")[1] for row in chosen if row["label"] == name} == largest
    synthetic = {p.id: p for p in read_synthetic(first / "synthesize").values()}
    hashes = {row["id"]: row["sha256"] for row in chosen}
    assert set(synthetic) == set(hashes)
    for row in read_jsonl(first / "describe.jsonl"):
        assert synthetic[row["id"]].prompt == f"A photo only remain {row['text']}."
    for one in synthetic.values():
        assert len(one.losses) == len(one.energies) == 2
        assert Image.open(one.path).size == (32, 32)
        assert one.seed == image_seed(0, hashes[one.id])


def test_run_file_holds_recipe_models_versions_and_no_time(first, bundle):
    document = tomllib.loads((first / "run.toml").read_text())

    assert document["recipe"]["select"]["per_class"] == PER_CLASS
    assert document["recipe"]["guidance"]["rounds"] == 2
    assert document["seed"] == 0
    assert document["models"]["fingerprint"] == load_bundle(bundle).fingerprint
    assert document["models"]["classifier_used"] == "the bundle's"
    assert document["versions"]["torch"] == torch.__version__
    assert "time" not in (first / "run.toml").read_text()


def test_detector_is_what_its_features_and_the_tuning_say(first, bundle, images):
    """Put together here from the pictures on disk with the tuning's public functions alone."""
    detector = OODDetector.from_pretrained(first / "detector")
    encoder = load_bundle(bundle).encoder()
    chosen = [row for row in read_jsonl(first / "select.jsonl") if "tune" in row["uses"]]
    synthetic = {p.id: p for p in read_synthetic(first / "synthesize").values()}
    real = encoder.encode_images([Image.open(images / row["id"]) for row in chosen])
    painted = encoder.encode_images([Image.open(synthetic[row["id"]].path) for row in chosen])
    negatives = encoder.encode_texts(detector.negative_prompts)
    classes = encoder.encode_texts([f"a photo of a {name}" for name in CLASSES])
    nearest = cosine_similarity(painted, negatives).argmax(axis=1)
    used = sorted(set(nearest.tolist()))
    targets = np.array([used.index(row) for row in nearest])
    recipe = RECIPES["paper"]

    projection = tune_projection(
        real,
        np.array([CLASSES.index(row["label"]) for row in chosen]),
        painted,
        targets,
        classes,
        negatives[used],
        recipe.projection,
        0,
    )
    negatives[used] = tune_negatives(painted, targets, negatives[used], recipe.negatives, 0)

    assert detector.tuned_rows == tuple(used)
    assert [row["negative"] for row in read_jsonl(first / "assign.jsonl")] == nearest.tolist()
    for name in ("weight", "bias", "norm_weight", "norm_bias"):
        mine, theirs = getattr(projection, name), getattr(detector.projection, name)
        np.testing.assert_allclose(mine, theirs, atol=1e-5)
    unit = negatives / np.linalg.norm(negatives, axis=1, keepdims=True)
    np.testing.assert_allclose(unit, detector.negative_features, atol=1e-5)


def test_words_equal_to_a_class_are_no_negatives_unless_the_recipe_says_so(
    first, bundle, images, tmp_path
):
    everything = ("mining.share=1", "guidance.rounds=1")
    paper = run(images, bundle, tmp_path / "a", *everything)
    released = run(images, bundle, tmp_path / "b", *everything, "mining.exclude_class_names=false")

    assert "a photo of a cat" not in paper.negative_prompts
    assert "a photo of a cat" in released.negative_prompts


def test_projection_may_be_tuned_with_prompts_of_its_own(first, again, bundle, images):
    usual = OODDetector.from_pretrained(first / "detector")
    other = run(images, bundle, again, "projection.class_prompt_set=released")

    assert np.array_equal(usual.class_features, other.class_features)
    assert np.array_equal(usual.negative_features, other.negative_features)
    assert not np.array_equal(usual.projection.weight, other.projection.weight)


def test_negatives_are_tuned_without_the_projection(first, again, bundle, images):
    usual = OODDetector.from_pretrained(first / "detector")
    other = run(images, bundle, again, "projection.epochs=9")

    assert np.array_equal(usual.negative_features, other.negative_features)
    assert not np.array_equal(usual.projection.weight, other.projection.weight)


# The same seed, the same bytes


def test_same_seed_gives_same_bytes(first, bundle, images, tmp_path):
    run(images, bundle, tmp_path / "second")
    assert contents(tmp_path / "second") == contents(first)


def test_another_seed_gives_other_pictures(first, bundle, images, tmp_path):
    run(images, bundle, tmp_path / "other", seed=1)
    mine, theirs = pictures(tmp_path / "other"), pictures(first)
    assert mine.keys() == theirs.keys()
    assert all(mine[key] != theirs[key] for key in mine)


@pytest.mark.parametrize("batch_size", [1, 5])
def test_batch_size_changes_a_picture_by_rounding_at_most(
    first, bundle, images, tmp_path, batch_size
):
    run(images, bundle, tmp_path / "out", batch_size=batch_size)
    assert_same_but_for_rounding(tmp_path / "out", first)


def test_name_place_and_company_do_not_change_a_picture(first, bundle, images, tmp_path):
    other = Path(shutil.copytree(images, tmp_path / "other"))
    (other / "cat" / "4.png").unlink()  # moves all others to another place in their batch
    (other / "dog" / "4.png").rename(other / "dog" / "z.png")
    run(other, bundle, tmp_path / "out")

    mine, theirs = pictures(tmp_path / "out"), pictures(first)
    assert set(mine) - set(theirs) == {"cat/2.png", "dog/z.png"}
    assert set(mine.values()) > {theirs[name] for name in theirs if name != "cat/4.png"}


def test_the_same_image_twice_is_painted_twice_alike(bundle, images, tmp_path):
    twice = Path(shutil.copytree(images, tmp_path / "twice"))
    shutil.copy(twice / "cat" / "4.png", twice / "cat" / "5.png")
    run(twice, bundle, tmp_path / "out")
    mine = pictures(tmp_path / "out")
    assert mine["cat/4.png"] == mine["cat/5.png"]
    assert len(mine) == 6


def assert_same_but_for_rounding(one: Path, other: Path) -> None:
    """Kernels for another batch round otherwise; a pixel on the edge may move by one."""
    mine, theirs = pixels(one), pixels(other)
    common = mine.keys() & theirs.keys()
    assert len(common) >= len(theirs) - 1
    for key in common:
        difference = np.abs(mine[key] - theirs[key])
        assert difference.max() <= 1
        assert (difference > 0).mean() < 0.002


# Killed and run again

MOMENTS = (
    ("select", 3), ("mine", 12), ("describe", 6), ("synthesize", 1), ("synthesize", 4),
    ("embed", 6), ("projection", 2), ("negatives", 4),
)  # fmt: skip


@pytest.mark.parametrize(("stage", "moment"), MOMENTS)
def test_killed_and_run_again_gives_the_same_bytes(first, bundle, images, tmp_path, stage, moment):
    out = tmp_path / "killed"
    in_a_child_that_is_killed(lambda kill: run(images, bundle, out, progress=kill), stage, moment)
    assert not (out / "detector" / "config.json").exists()
    before = len(pictures(out))

    run(images, bundle, out)

    assert contents(out) == contents(first)
    assert not list(out.rglob(".*part"))
    assert painted(out) == 6 - before
    if stage == "synthesize":
        assert before >= moment - shards.SHARD


def test_killed_while_writing_leaves_no_half_file(bundle, images, tmp_path, first):
    """Killed between the bytes of a file and its name: inside `os.replace` and `os.rename`."""
    out = tmp_path / "killed"
    for count in (1, 3, 2, 4, 3):  # what one child has done, the next does not do again
        if os.fork() == 0:
            kill_at_rename(count)
            run(images, bundle, out)
            os._exit(0)
        _, status = os.wait()
        assert os.WIFSIGNALED(status)
        for path in out.rglob("[!.]*.json*"):
            [json.loads(line) for line in path.read_text().splitlines() if path.suffix == ".jsonl"]

    run(images, bundle, out)

    assert contents(out) == contents(first)
    assert not list(out.rglob(".*part"))


def in_a_child_that_is_killed(work, stage: str, moment: int) -> None:
    def progress(name: str, done: int, total: int, message: str) -> None:
        if name == stage and done >= moment:
            os.kill(os.getpid(), signal.SIGKILL)

    child = os.fork()
    if child == 0:
        work(progress)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), "the child was to be killed in the middle"
    assert os.WTERMSIG(status) == signal.SIGKILL


def kill_at_rename(count: int) -> None:
    """Let this process die in its `count`-th rename from now on, before it happens."""
    left = [count]
    real = {name: getattr(os, name) for name in ("rename", "replace")}

    def dying(name):
        def act(*args, **kwargs):
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return real[name](*args, **kwargs)

        return act

    for name in real:
        setattr(os, name, dying(name))


def test_run_that_is_done_does_nothing_more(again, bundle, images):
    stamps = {p: p.stat().st_mtime_ns for p in again.rglob("[!.]*.*") if p.suffix != ".jsonl"}

    run(images, bundle, again)

    assert painted(again) == 0
    kept = {p for p in stamps if p.stat().st_mtime_ns == stamps[p]}
    assert {p.name for p in stamps.keys() - kept} <= {"run.toml"}


# A changed input redoes it and what follows, nothing else


def test_other_tuning_keeps_the_pictures(first, again, bundle, images):
    run(images, bundle, again, "negatives.epochs=9")

    assert painted(again) == 0
    assert pictures(again) == pictures(first)
    assert contents(again / "detector") != contents(first / "detector")


def test_other_guidance_paints_all_anew_and_removes_the_old(first, again, bundle, images):
    run(images, bundle, again, "guidance.step_size=1")

    assert painted(again) == 6
    assert len(list((again / "synthesize").rglob("*.png"))) == 6
    assert (again / "describe.jsonl").read_bytes() == (first / "describe.jsonl").read_bytes()


def test_a_changed_image_is_the_only_one_painted_anew(first, again, bundle, images, tmp_path):
    changed = Path(shutil.copytree(images, tmp_path / "changed"))
    noise = np.random.default_rng(9).integers(0, 255, (24, 32, 3), dtype=np.uint8)
    Image.fromarray(noise).save(changed / "cat" / "4.png")

    run(changed, bundle, again)

    assert painted(again) == 1
    old, new = pictures(first), pictures(again)
    assert {key for key in new if new[key] != old[key]} == {"cat/4.png"}


def test_a_touched_image_changes_nothing(again, bundle, images, tmp_path):
    touched = Path(shutil.copytree(images, tmp_path / "touched"))
    for path in touched.rglob("*.png"):
        os.utime(path, (1, 1))

    run(touched, bundle, again)

    assert painted(again) == 0


def test_a_text_changed_by_hand_is_used(again, bundle, images):
    rows = read_jsonl(again / "describe.jsonl")
    rows[2]["text"] = "a nice tree"
    write_jsonl(again / "describe.jsonl", rows)

    run(images, bundle, again)

    assert painted(again) == 1
    prompts = {p.id: p.prompt for p in read_synthetic(again / "synthesize").values()}
    assert prompts[rows[2]["id"]] == "A photo only remain a nice tree."


@pytest.mark.parametrize(
    "pattern", ["synthesize/*/*.png", "features/image-*", "features/text-*", "detector/model.*"]
)
def test_what_is_damaged_is_made_again(first, again, bundle, images, pattern):
    victim = sorted(again.glob(pattern))[0]
    data = bytearray(victim.read_bytes())
    victim.write_bytes(data[: len(data) // 2])

    run(images, bundle, again)

    assert contents(again / "detector") == contents(first / "detector")
    assert pictures(again) == pictures(first)


def test_a_stray_picture_in_a_shard_is_cleared_away(first, again, bundle, images):
    shard = sorted((again / "synthesize").iterdir())[0]
    shutil.copyfile(next(shard.glob("*.png")), shard / "stray.png")

    run(images, bundle, again)

    assert contents(again) == contents(first)
    assert painted(again) == 0


# What is refused


def test_what_the_bundle_or_recipe_lacks_is_told_at_once(images, tmp_path):
    mute = tiny_bundle(tmp_path / "mute", inpainter=True)
    change_spec(mute, describer=None)
    with pytest.raises(InputError, match="--descriptions"):
        run(images, mute, tmp_path / "out")
    with pytest.raises(InputError, match="'nice'"):
        run(images, mute, tmp_path / "out", "projection.class_prompt_set=nice")
    with pytest.raises(InputError, match="batch size"):
        run(images, mute, tmp_path / "out", batch_size=0)
    assert not (tmp_path / "out").exists()


def test_an_unreadable_image_stops_before_anything_is_written(bundle, images, tmp_path):
    broken = Path(shutil.copytree(images, tmp_path / "broken"))
    (broken / "dog" / "2.png").write_bytes(b"not a picture")

    with pytest.raises(InputError, match=r"dog/2\.png"):
        run(broken, bundle, tmp_path / "out", max_bad=0)

    assert not (tmp_path / "out").exists()


def test_a_cut_off_image_is_found_though_its_header_is_whole(bundle, images, tmp_path):
    broken = Path(shutil.copytree(images, tmp_path / "broken"))
    data = (broken / "dog" / "4.png").read_bytes()
    (broken / "dog" / "4.png").write_bytes(data[:-40])

    with pytest.raises(InputError, match=r"dog/4\.png"):
        run(broken, bundle, tmp_path / "out", "select.per_class=9", max_bad=0)


def test_a_class_left_without_images_is_named(bundle, images, tmp_path):
    broken = Path(shutil.copytree(images, tmp_path / "broken"))
    for path in (broken / "dog").iterdir():
        path.write_bytes(b"")
    with pytest.raises(InputError, match="'dog'"):
        run(broken, bundle, tmp_path / "out", max_bad=1)


def test_two_runs_in_one_directory_are_refused_until_the_first_ends(again, bundle, images, first):
    ready, write = os.pipe()
    child = os.fork()
    if child == 0:
        with open_run(again):
            os.write(write, b"x")
            signal.pause()
        os._exit(0)
    os.read(ready, 1)

    with pytest.raises(InputError, match=f"process {child} on .* is running in this directory"):
        run(images, bundle, again)

    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    run(images, bundle, again)
    assert contents(again) == contents(first)


def test_somebody_elses_directory_is_left_alone(bundle, images, tmp_path):
    with pytest.raises(InputError, match="not a run directory"):
        run(images, bundle, images)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match="is a file"):
        run(images, bundle, tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"
    assert not (images / ".lock").exists()


def test_a_failure_is_in_the_event_log(again, bundle, images, tmp_path):
    broken = Path(shutil.copytree(images, tmp_path / "broken"))
    (broken / "dog" / "2.png").write_bytes(b"")
    with pytest.raises(InputError):
        run(broken, bundle, again, max_bad=0)
    last = read_jsonl(again / "events.jsonl")[-1]
    assert last["event"] == "failed"
    assert "dog/2.png" in last["error"]


def test_half_an_event_of_a_killed_run_is_dropped(again, bundle, images):
    events = again / "events.jsonl"
    whole = events.read_text().splitlines()
    events.write_text(events.read_text() + '{"time": "20')
    run(images, bundle, again)
    assert events.read_text().splitlines()[: len(whole)] == whole
    assert all(json.loads(line) for line in events.read_text().splitlines())


# What it tells


def test_progress_tells_every_stage_to_its_end(again, bundle, images, tmp_path):
    last: dict[str, tuple[int, int]] = {}

    def progress(stage: str, done: int, total: int, message: str) -> None:
        assert 0 <= done <= total
        if total:
            last[stage] = (done, total)

    run(images, bundle, tmp_path / "out", progress=progress)

    assert set(last) == set(STAGES) - {"probe", "views"}
    assert all(done == total for done, total in last.values())
