"""`synood fit`: what it makes, how it resumes, what it refuses."""

import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from bundling import CLASSES, tiny_bundle
from small_run import QUICK, contents
from synood import OODDetector, ood_metrics
from synood.benchmark.results.results import read_results
from synood.cli import main
from synood.files import write_json

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
    assert (expected >= threshold).sum() == 12
    assert "80.0% of 15" in printed.out
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
    assert sum(" error " in line for line in out.read_text().splitlines()) == 1


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


def test_prompt_longer_than_the_text_tower_takes(refused, bundle, images, tmp_path):
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
    line = refused(
        "fit", images, "--models", bundle, "--out", tmp_path / "run", "--descriptions", texts,
        *QUICKLY,
    )  # fmt: skip
    assert "tree tree" in line
    assert not (tmp_path / "run" / "synthesize").exists()


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
    first, *others = result.stderr.splitlines()
    assert first.startswith("warning: dtype bfloat16: this CPU only emulates bfloat16")
    assert any(line.startswith("synthesize") for line in others)
    assert not any("emulates" in line for line in others)
