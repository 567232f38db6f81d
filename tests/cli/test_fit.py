"""`synood fit`: what it makes, how it resumes, what it refuses."""

import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from bundling import CLASSES, change_spec, tiny_bundle
from small_run import QUICK, contents
from synood import OODDetector, ood_metrics
from synood.benchmark.results.results import read_results
from synood.cli import main
from synood.errors import InputError
from synood.files import read_json, write_json
from synood.models.bundles import load_bundle
from synood.pipeline.overruled import overruled
from synood.pipeline.recipe import resolve_recipe
from synood.pipeline.stages.shuffle import without_inpainter

QUICKLY = ("--batch-size", "2", "--set", *QUICK)


def test_fit_score_calibrate_evaluate(bundle, images, others, tmp_path, capsys):
    run, made = tmp_path / "run", tmp_path / "run" / "detector"
    assert main(["fit", str(images), "--models", str(bundle), "--out", str(run), *QUICKLY]) == 0
    out = capsys.readouterr().out
    assert f"synood score {made}" in out
    assert "3 classes" in out
    assert "tuned" in out

    assert main(["score", str(made), str(images), "--format", "jsonl"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    loaded = OODDetector.from_pretrained(made)
    expected = loaded.score(images)
    assert [Path(row["path"]).parent.name for row in rows] == sorted(CLASSES * 5)
    np.testing.assert_allclose([row["score"] for row in rows], expected, atol=1e-5)
    assert {row["label"] for row in rows} <= set(CLASSES)

    moved = tmp_path / "calibrated"
    words = ["calibrate", str(made), "--id", str(images), "--tpr", "0.8", "--out", str(moved)]
    assert main(words) == 0
    printed = capsys.readouterr()
    threshold = OODDetector.from_pretrained(moved).threshold
    assert (expected >= threshold).sum() == 13  # the third smallest of 15 is the threshold
    assert "86.7 % of 15" in printed.out
    assert "on average at least 80 % of new ones" in printed.out
    assert "warning: calibrated on only 15 images" in printed.err

    results = tmp_path / "results.json"
    words = ["evaluate", str(moved), "--id", str(images), "--ood", f"far={others}"]
    assert main([*words, "--near-ood", f"near={others}", "--out", str(results)]) == 0
    rows = {row.ood_set: row for row in read_results(results).rows}
    metrics = ood_metrics(expected, loaded.score(others))
    assert rows["far"].auroc == pytest.approx(metrics.auroc, abs=1e-5)
    assert rows["far"].fpr95 == pytest.approx(metrics.fpr95, abs=1e-5)
    assert (rows["far"].group, rows["near"].group) == ("far", "near")
    table = capsys.readouterr().out
    assert "SynOOD" in table
    assert f"{100 * rows['far'].auroc:.1f}" in table


def test_fit_options_reach_the_recipe(bundle, images, tmp_path, capsys):
    names = tmp_path / "names.json"
    write_json(names, {"cat": "Dog", "dog": "cat", "tree": "tree"})
    run = tmp_path / "run"
    words = ["fit", images, "--models", bundle, "--out", run, "--classes", names, "--seed", 5]
    words += ["--per-class", 1, "--recipe", "released", *QUICKLY[:2], "--set", *QUICK[1:]]

    assert main([str(word) for word in words]) == 0

    text = (run / "run.toml").read_text()
    assert "seed = 5" in text
    assert "per_class = 1\n" in text
    assert 'name = "released"' in text
    assert OODDetector.from_pretrained(run / "detector").class_names == ("Dog", "cat", "tree")


def test_fit_killed_from_outside_goes_on(bundle, images, tmp_path):
    """The real command, killed when the first shard is there, then run to its end."""
    out = tmp_path / "run"
    words = ["fit", images, "--models", bundle, "--out", out, "--batch-size", "1"]
    words += ["--per-class", "5", "--set", *QUICK[1:]]
    line = [sys.executable, "-m", "synood", *map(str, words)]
    process = subprocess.Popen(
        line, env={**os.environ, "OMP_NUM_THREADS": "1"}, stderr=subprocess.PIPE
    )
    deadline = time.monotonic() + 120
    while not list(out.glob("describe.jsonl")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not (out / "detector").exists()

    assert main([str(word) for word in words]) == 0

    assert (out / "detector" / "config.json").exists()
    whole = tmp_path / "whole"
    words[words.index("--out") + 1] = whole
    assert main([str(word) for word in words]) == 0
    assert contents(out) == contents(whole)


def test_missing_folder(refused, bundle, tmp_path):
    line = refused("fit", tmp_path / "nowhere", "--models", bundle, "--out", tmp_path / "run")
    assert "nowhere" in line
    assert not (tmp_path / "run").exists()


def test_empty_class(refused, bundle, images, tmp_path):
    copy = Path(shutil.copytree(images, tmp_path / "copy"))
    (copy / "zebra").mkdir()
    line = refused("fit", copy, "--models", bundle, "--out", tmp_path / "run")
    assert "zebra" in line
    assert not (tmp_path / "run").exists()


def test_unreadable_image(refused, bundle, detector, images, tmp_path):
    copy = Path(shutil.copytree(images, tmp_path / "copy"))
    (copy / "dog" / "3.png").write_bytes(b"\x89PNG but not really")
    words = ("fit", copy, "--models", bundle, "--out", tmp_path / "run", "--max-bad", "0")
    assert "dog/3.png" in refused(*words)
    assert not (tmp_path / "run").exists()
    out = tmp_path / "verdicts.jsonl"
    assert "dog/3.png" in refused("score", detector, copy, "--out", out)
    assert sum(line.startswith("error ") for line in out.read_text().splitlines()) == 1


def test_two_classes_of_one_name(refused, bundle, images, tmp_path):
    write_json(tmp_path / "names.json", ["cat", "Cat", "tree"])
    line = refused(
        "fit", images, "--models", bundle, "--out", tmp_path / "run",
        "--classes", tmp_path / "names.json",
    )  # fmt: skip
    assert "'Cat'" in line
    (tmp_path / "names.txt").write_text("cat\ndog\nCAT\n")
    line = refused(
        "zero-shot", "--classes", tmp_path / "names.txt", "--models", bundle,
        "--out", tmp_path / "detector",
    )  # fmt: skip
    assert "'CAT'" in line
    assert not (tmp_path / "run").exists()
    assert not (tmp_path / "detector").exists()


def test_prompt_longer_than_the_text_tower_takes(refused, done, bundle, images, tmp_path):
    (tmp_path / "names.txt").write_text(f"cat\n{'dog ' * 80}\n")
    line = refused(
        "zero-shot", "--classes", tmp_path / "names.txt", "--models", bundle,
        "--out", tmp_path / "detector",
    )  # fmt: skip
    assert "dog dog" in line
    assert "tokens" in line
    assert not (tmp_path / "detector").exists()
    texts = tmp_path / "texts.jsonl"
    rows = [{"id": f"{name}/{i}.png", "text": "tree " * 80} for name in CLASSES for i in range(5)]
    texts.write_text("".join(json.dumps(row) + "\n" for row in rows))
    printed = done(
        "fit", images, "--models", bundle, "--out", tmp_path / "run", "--descriptions", texts,
        *QUICKLY,
    )  # fmt: skip
    assert "shortened" in printed.err


def test_recipe_that_is_not_there_or_misspelt(refused, bundle, images, tmp_path):
    words = ("fit", images, "--models", bundle, "--out", tmp_path / "run")
    assert "papr" in refused(*words, "--recipe", "papr")
    line = refused(*words, "--set", "negatives.lerning_rate=1")
    assert "did you mean negatives.learning_rate?" in line
    assert not (tmp_path / "run").exists()


def test_bundle_and_device_that_are_not_there(refused, images, tmp_path):
    out = ("--out", tmp_path / "run")
    assert "bundle.json" in refused("fit", images, "--models", tmp_path, *out)
    bundle = tiny_bundle(tmp_path / "bundle")
    assert "'quantum'" in refused("fit", images, "--models", bundle, "--device", "quantum", *out)


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="a limit of x86 alone")
def test_a_precision_that_the_cpu_emulates_is_warned_of_before_any_work(
    bundle, images, tmp_path, in_process
):
    models = f"{bundle}+inpainter.dtype=bfloat16"
    words = ("fit", images, "--models", models, "--out", tmp_path / "run", *QUICKLY)
    result = in_process(*words, env={"ONEDNN_MAX_CPU_ISA": "AVX2"})
    assert result.returncode == 0
    _, first, *others = result.stderr.splitlines()
    assert first.startswith("warning: dtype bfloat16: this CPU only emulates bfloat16")
    assert any(line.startswith("synthesize") for line in others)
    assert not any("emulates" in line for line in others)


# What is said before the work begins


def test_fit_says_first_what_it_learns_from(done, bundle, images, tmp_path):
    printed = done("fit", images, "--models", bundle, "--out", tmp_path / "run", *QUICKLY)
    assert printed.err.splitlines()[0] == f"3 classes (cat, dog, tree), 15 images: {images}"
    assert "warning" not in printed.err.split("select")[0]


def test_folders_that_are_parts_of_a_dataset_are_warned_of(done, bundle, images, tmp_path):
    data = tmp_path / "data"
    for name, source in (("id", "cat"), ("id_test", "dog"), ("near", "tree")):
        shutil.copytree(images / source, data / name)
    printed = done("fit", data, "--models", bundle, "--out", tmp_path / "run", *QUICKLY)
    first, second, *_ = printed.err.splitlines()
    assert first.startswith("3 classes (id, id test, near), 15 images")
    assert second.startswith("warning: ")
    assert "parts of a dataset?" in second


def test_a_field_that_another_overrules_is_said(done, images, tmp_path):
    bundle = tiny_bundle(tmp_path / "bundle", inpainter=True)
    change_spec(bundle, recipe={"negatives": {"min_steps": 100}})
    words = ("fit", images, "--models", bundle, "--out", tmp_path / "run", *QUICKLY)
    printed = done(*words, "negatives.epochs=10", "projection.epochs=2")
    sentence = "warning: negatives.epochs changes nothing here: negatives.min_steps = 100"
    assert sentence in printed.err
    assert "projection.epochs changes" not in printed.err


@pytest.mark.parametrize("name", ["photo", "mini"])
def test_the_example_of_the_help_changes_what_each_embedded_bundle_makes(name, capsys):
    assert main(["fit", "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    example = re.search(r"e\.g\. --set (\S+=[\d.]+)", shown)[1]
    bundle = load_bundle(name)
    recipe, _ = without_inpainter(resolve_recipe("plus", bundle.recipe_defaults, [example]), bundle)
    assert recipe != without_inpainter(resolve_recipe("plus", bundle.recipe_defaults), bundle)[0]
    assert overruled(recipe, [example], [20] * 56) == []


def test_fields_of_in_painting_without_an_in_painting_model_are_said(done, images, tmp_path):
    bundle = tiny_bundle(tmp_path / "bundle")
    words = (
        "fit",
        images,
        "--models",
        bundle,
        "--out",
        tmp_path / "run",
        "--set",
        "guidance.rounds=2",
    )
    sentence = (
        "warning: guidance.rounds changes nothing here: synthesis.method = jigsaw overrules it"
    )
    assert sentence in done(*words).err


@pytest.mark.parametrize(
    ("assignment", "sentence"),
    [
        ("calibration.tpr=95", "between 0 and 1 (0.95, not 95)"),
        ("guidance.strength=0.04", "leaves no denoising step"),
        ("score.seed=1e30", "must be a whole number"),
    ],
)
def test_recipes_that_cannot_work_are_refused_before_the_work(
    refused, bundle, images, tmp_path, assignment, sentence
):
    run = tmp_path / "run"
    line = refused("fit", images, "--models", bundle, "--out", run, "--set", assignment)
    assert sentence in line
    assert not run.exists()


@pytest.mark.parametrize("place", ["run", "cat/run", "other/../dog/deep/run"])
def test_a_run_within_its_own_images_is_refused(refused, bundle, images, tmp_path, place):
    data = shutil.copytree(images, tmp_path / "data")
    line = refused("fit", data, "--models", bundle, "--out", data / place)
    assert "lies in the folder of images" in line
    with pytest.raises(InputError, match="lies in the folder of images"):
        OODDetector.fit(data, models=bundle, run=data / place)
    assert sorted(path.name for path in data.iterdir()) == ["cat", "dog", "tree"]
    assert not (data / place).exists()


def test_an_image_in_two_classes_is_warned_of(done, bundle, images, tmp_path):
    data = shutil.copytree(images, tmp_path / "data")
    shutil.copy(data / "cat" / "0.png", data / "dog" / "same.png")
    shutil.copy(data / "cat" / "1.png", data / "loose.png")
    printed = done("fit", data, "--models", bundle, "--out", tmp_path / "run", *QUICKLY)
    assert "in two classes, such as " in printed.err.splitlines()[1]
    assert "1 image in no class folder is left out (loose.png)" in printed.err.splitlines()[2]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--seed", "-1"], "seed: must be from 0 to 2,147,483,647, not -1"),
        (["--seed", "99999999999999999999"], "seed: must be from 0 to 2,147,483,647, not 9999"),
        (["--set", "score.seed=99999999999999999999"], "score.seed must be at most 2,147,483,647"),
    ],
)
def test_numbers_out_of_range_are_refused_before_the_work(
    refused, bundle, images, tmp_path, words, sentence
):
    out = tmp_path / "run"
    assert sentence in refused("fit", images, "--models", bundle, "--out", out, *words)
    assert not out.exists()


def test_a_field_that_is_set_twice_is_said(done, bundle, images, tmp_path):
    words = ["fit", images, "--models", bundle, "--out", tmp_path / "run", "--set"]
    told = done(*words, *QUICK, "select.per_class=1", "--per-class", "2").err
    assert told.count("is set twice; select.per_class=") == 2
    assert "select.per_class is set twice; select.per_class=2 counts" in told


def test_photographs_are_the_default_and_need_no_painter(in_process, images, tmp_path):
    """The real command with the bundle `photo`: one line says what stands in for the painter."""
    run = tmp_path / "run"
    words = ("fit", images, "--out", run, "--per-class", "2")
    done = in_process(*words)
    assert done.returncode == 0, done.stderr
    said = [line for line in done.stderr.splitlines() if "in-painting model" in line]
    assert len(said) == 1
    assert "photo+painter=" in said[0]
    assert read_json(run / "detector" / "config.json")["backbone"]["bundle"] == "photo"
    (tmp_path / "texts.jsonl").write_text('{"id": "cat/0.png", "text": "a rope"}\n')
    painted = in_process(*words, "--descriptions", tmp_path / "texts.jsonl")
    assert painted.returncode == 2
    assert "take an in-painting model by name" in painted.stderr


# Cheap things are checked before expensive ones


@pytest.fixture
def unread(monkeypatch):
    """No image is encoded."""
    monkeypatch.setattr(
        "synood.models.clip.ClipEncoder.encode_images", lambda *_, **__: pytest.fail("encoded")
    )


def test_an_endpoint_without_its_key_is_refused_before_any_work(
    refused, unread, monkeypatch, bundle, images, tmp_path
):
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    spec = {"type": "endpoint", "base_url": "http://127.0.0.1:9/v1", "model": "m"}
    (tmp_path / "endpoint.json").write_text(json.dumps({**spec, "key_env": "NO_SUCH_KEY"}))
    words = ("--models", bundle, "--describer", tmp_path / "endpoint.json")
    line = refused("fit", images, *words, "--out", tmp_path / "run")
    assert "no key in the environment variable NO_SUCH_KEY" in line
    assert not (tmp_path / "run").exists()


def test_names_longer_than_the_text_tower_takes_are_named_before_any_work(
    refused, unread, bundle, images, tmp_path
):
    long = "very " * 80 + "long"
    names = {"cat": long, "dog": "dog", "tree": f"{long} tree"}
    (tmp_path / "names.json").write_text(json.dumps(names))
    words = ("--models", bundle, "--classes", tmp_path / "names.json")
    line = refused("fit", images, *words, "--out", tmp_path / "run")
    assert "class names 'very very" in line
    assert "...': longer than the text tower of the encoder takes; shorten them" in line
    assert not (tmp_path / "run").exists()
