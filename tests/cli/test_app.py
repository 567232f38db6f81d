"""The command line as a person uses it: what it prints, what it writes, how it refuses."""

from __future__ import annotations

import csv
import io
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from bundling import CLASSES, tiny_bundle
from small_run import QUICK, contents, make_pictures
from synood import OODDetector, __version__, ood_metrics
from synood.benchmark.results.results import read_results
from synood.cli.app import app, main
from synood.cli.console import Bars, Lines
from synood.files import write_json

ENV = {**os.environ, "COLUMNS": "100", "OMP_NUM_THREADS": "1"}
QUICKLY = ("--batch-size", "2", "--set", *QUICK)


@pytest.fixture(scope="module")
def others(tmp_path_factory):
    root = make_pictures(tmp_path_factory.mktemp("data") / "others", classes=("far",), seed=7)
    return root / "far"


@pytest.fixture(scope="module")
def detector(bundle, images, tmp_path_factory):
    """A zero-shot detector whose threshold keeps half of the images."""
    out = tmp_path_factory.mktemp("detectors") / "half"
    made = OODDetector.from_classes(CLASSES, models=bundle, share=0.9)
    made.calibrate(images, tpr=0.5).save_pretrained(out)
    return out


def synood(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the real command in a process of its own."""
    words = [sys.executable, "-m", "synood", *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True, env=ENV, check=False)


@pytest.fixture
def refused(capsys):
    """Run a command here that is to fail with exit code 2; return its one line."""

    def act(*arguments: object) -> str:
        assert main([str(argument) for argument in arguments]) == 2
        captured = capsys.readouterr()
        lines = [line for line in captured.err.splitlines() if line.startswith("synood: ")]
        assert len(lines) == 1, captured.err
        assert "Traceback" not in captured.err
        assert captured.out == ""
        return lines[0]

    return act


# Help


def test_help_is_quick_and_loads_nothing_heavy():
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    result = synood("--help")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)

    assert result.returncode == 0
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.5
    for command in ("demo", "fit", "zero-shot", "score", "calibrate", "evaluate", "mine"):
        assert f" {command} " in result.stdout
    code = "import sys, synood.cli.app; print(sorted({'torch', 'numpy', 'PIL'} & set(sys.modules)))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=ENV)
    assert loaded.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "command",
    ["demo", "fit", "zero-shot", "score", "calibrate", "evaluate", "mine", "synthesize", "report"],
)
def test_every_option_is_explained(command, capsys):
    arguments = app[command].assemble_argument_collection(parse_docstring=True)
    assert main([command, "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert len(arguments) > 1
    for argument in arguments:
        if argument.children:  # a group of options, of which each is shown
            continue
        assert argument.parameter.help, argument.name
        assert argument.parameter.help.split(".")[0].split("\n")[0] in shown
    assert "None]" not in shown


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == __version__


# From images to a verdict, each command in turn


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
    printed = capsys.readouterr().out
    threshold = OODDetector.from_pretrained(moved).threshold
    assert (expected >= threshold).sum() == 12
    assert "80.0% of 15" in printed
    assert "warning" in printed

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
    process = subprocess.Popen(line, env=ENV, stderr=subprocess.PIPE)
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


def test_zero_shot_from_mined_words(bundle, tmp_path, capsys):
    classes, words = tmp_path / "names.txt", tmp_path / "negatives.txt"
    classes.write_text("cat\ndog\n")
    models = ["--models", str(bundle), "--classes", str(classes)]
    assert main(["mine", *models, "--out", str(words), "--share", "0.5"]) == 0
    mined = words.read_text().splitlines()
    assert f"{len(mined)} negative labels" in capsys.readouterr().out
    plain, given = tmp_path / "plain", tmp_path / "given"
    assert main(["zero-shot", *models, "--out", str(plain), "--share", "0.5"]) == 0
    assert main(["zero-shot", *models, "--out", str(given), "--negatives", str(words)]) == 0
    assert "no threshold yet" in capsys.readouterr().out

    one, other = OODDetector.from_pretrained(plain), OODDetector.from_pretrained(given)
    assert one.negative_prompts == other.negative_prompts == tuple(mined)
    assert np.allclose(one.negative_features, other.negative_features, atol=1e-6)


# How verdicts are written


def test_verdicts_as_table_csv_and_file(detector, images, tmp_path, capsys):
    assert main(["score", str(detector), str(images / "cat")]) == 0
    table = capsys.readouterr().out.splitlines()
    assert table[0].split() == ["score", "verdict", "nearest", "class", "image"]
    assert len(table) == 6

    out = tmp_path / "verdicts.csv"
    words = ["score", str(detector), str(images / "cat"), "--format", "csv", "--out", str(out)]
    assert main(words) == 0
    assert capsys.readouterr().out == ""
    rows = list(csv.DictReader(io.StringIO(out.read_text())))
    threshold = OODDetector.from_pretrained(detector).threshold
    for row, line in zip(rows, table[1:], strict=True):
        assert row["is_ood"] == str(np.float32(row["score"]) < np.float32(threshold)).lower()
        assert line.startswith(f"{float(row['score']):.4f}")
        assert ("OOD" in line) == (row["is_ood"] == "true")


def test_exit_code_3_only_where_ood_is_found_and_asked_for(detector, images, tmp_path):
    scores = OODDetector.from_pretrained(detector).score(images)
    paths = sorted(path for path in images.rglob("*.png"))
    low, high = str(paths[int(scores.argmin())]), str(paths[int(scores.argmax())])
    assert main(["score", str(detector), low, high, "--fail-on-ood"]) == 3
    assert main(["score", str(detector), high, "--fail-on-ood"]) == 0
    assert main(["score", str(detector), low]) == 0


def test_only_the_verdicts_go_to_standard_output(detector, images):
    result = synood("score", detector, images / "cat", "--format", "jsonl")
    assert result.returncode == 0
    assert [json.loads(line)["label"] for line in result.stdout.splitlines()]
    assert "score 5/5" in result.stderr


# What is refused: one sentence, exit code 2, nothing written


def test_missing_folder(refused, bundle, tmp_path):
    line = refused("fit", tmp_path / "nowhere", "--models", bundle, "--out", tmp_path / "run")
    assert "nowhere" in line
    assert not (tmp_path / "run").exists()


def test_missing_folder_in_a_process_of_its_own(bundle, tmp_path):
    result = synood("fit", tmp_path / "nowhere", "--models", bundle, "--out", tmp_path / "run")
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.startswith("synood: ")
    assert len(result.stderr.splitlines()) == 1


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


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "negatives.txt"])
def test_detector_with_a_missing_or_altered_file(refused, detector, images, tmp_path, name):
    copy = Path(shutil.copytree(detector, tmp_path / "copy"))
    (copy / name).unlink()
    assert name in refused("score", copy, images)
    data = (detector / name).read_bytes()
    (copy / name).write_bytes(data[:-2] + b"?" + data[-1:])
    line = refused("score", copy, images)
    assert name in line
    assert refused("calibrate", copy, "--id", images) == line
    assert (copy / name).read_bytes() != data


def test_detector_that_is_not_there(refused, images, tmp_path):
    assert "nothing" in refused("score", tmp_path / "nothing", images)


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


def test_demo_of_too_few_seeds(refused, tmp_path):
    assert "at least 3" in refused("demo", "--seeds", "1", "--out", tmp_path / "demo")
    assert not (tmp_path / "demo").exists()


def test_command_lines_that_do_not_parse(refused, detector, images):
    assert "fti" in refused("fti", images)
    assert "--formt" in refused("score", detector, images, "--formt", "csv")
    assert "--out" in refused("fit", images)
    assert "NAME=PATH" in refused("evaluate", detector, "--id", images, "--ood", images)
    assert "--ood NAME=PATH" in refused("evaluate", detector, "--id", images)
    twice = ("--ood", f"a={images}", f"a={images}")
    assert "'a'" in refused("evaluate", detector, "--id", images, *twice)


def test_verdicts_cannot_fail_on_ood_without_a_threshold(refused, bundle, images, tmp_path):
    OODDetector.from_classes(CLASSES, models=bundle, share=0.9).save_pretrained(tmp_path / "d")
    line = refused("score", tmp_path / "d", images, "--fail-on-ood")
    assert "synood calibrate" in line


def test_place_that_cannot_be_written_to(refused, detector, images, tmp_path):
    (tmp_path / "file").write_text("mine")
    line = refused("score", detector, images, "--out", tmp_path / "file" / "verdicts.csv")
    assert str(tmp_path / "file") in line
    assert (tmp_path / "file").read_text() == "mine"


def test_our_own_fault_is_exit_code_1_with_a_traceback(monkeypatch, capsys, detector, images):
    monkeypatch.setattr(OODDetector, "verdicts", lambda *_: 1 / 0)
    assert main(["score", str(detector), str(images)]) == 1
    shown = capsys.readouterr().err
    assert "ZeroDivisionError" in shown
    assert "fault in synood" in shown


def test_interrupted_by_hand_is_one_line(monkeypatch, capsys, detector, images):
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(OODDetector, "verdicts", interrupted)
    assert main(["score", str(detector), str(images)]) == 130
    assert "Traceback" not in capsys.readouterr().err


def test_demo_has_the_seeds_of_the_benchmark():
    import inspect

    from synood.benchmark.experiments import demo
    from synood.cli.demo import demo as command

    assert inspect.signature(command).parameters["seeds"].default == demo.SEEDS


# Progress


def test_lines_come_at_start_end_and_tenths_and_after_silence():
    lines: list[str] = []
    now = [0.0]
    report = Lines(lines.append, clock=lambda: now[0])
    for done in range(101):
        report("paint", done, 100, f"picture {done}")
    assert lines == [f"paint {n}/100 picture {n}" for n in range(0, 101, 10)]
    report("tune", 0, 0, "few images")
    assert lines[-1] == "tune: few images"
    lines.clear()
    report("slow", 1, 1000, "")
    report("slow", 2, 1000, "")
    now[0] = 60.0
    report("slow", 3, 1000, "")
    assert lines == ["slow 1/1000", "slow 3/1000"]


def test_bars_show_stages_and_remarks(capsys):
    with Bars() as report:
        report("paint", 1, 2, "with [brackets]")
        report("paint", 0, 0, "a remark with [brackets]")
        report("paint", 2, 2, "")
    shown = capsys.readouterr().err
    assert "a remark with [brackets]" in shown
    assert "2/2" in shown
