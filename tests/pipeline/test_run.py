"""The pipeline as a whole, on real tiny checkpoints: what it writes, refuses and tells."""

from __future__ import annotations

import shutil
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bundling import CLASSES, change_spec, tiny_bundle
from small_run import PER_CLASS, contents, pictures, run
from synood import InputError, OODDetector
from synood.files import read_jsonl
from synood.models.bundles import load_bundle
from synood.pipeline.recipe import RECIPES
from synood.pipeline.run import STAGES
from synood.pipeline.rundir.shards import read_synthetic
from synood.pipeline.stages.synthesize import image_seed
from synood.scores import cosine_similarity
from synood.tuning.negatives import tune_negatives
from synood.tuning.projection import tune_projection

pytestmark = [pytest.mark.numerical, pytest.mark.usefixtures("one_thread", "small_shards")]


def pixels(out: Path) -> dict[str, np.ndarray]:
    found = read_synthetic(out / "synthesize").values()
    return {p.id: np.asarray(Image.open(p.path), int) for p in found}


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
