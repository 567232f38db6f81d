"""What is given in place of something else is named, with what to give."""

from __future__ import annotations

import shutil

import pytest

from bundling import CLASSES, tiny_bundle
from synood import OODDetector
from synood.artifacts import artifact_at, mistaken_for
from synood.cli import main


@pytest.fixture(scope="module")
def things(tmp_path_factory):
    """A bundle, a detector in a run, the run, a folder of something else, and a file."""
    root = tmp_path_factory.mktemp("things")
    bundle = tiny_bundle(root / "bundle")
    made = OODDetector.from_classes(CLASSES, models=bundle, share=0.9)
    made.save_pretrained(root / "run" / "detector")
    (root / "run" / "run.toml").touch()
    (root / "folder").mkdir()
    (root / "names.txt").write_text("cat\ndog\n")
    return root


def test_what_lies_at_a_path(things):
    assert artifact_at(things / "bundle") == "a bundle of models"
    assert artifact_at(things / "run" / "detector") == "a detector"
    assert artifact_at(things / "run") == "a run"
    assert artifact_at(things / "folder") == artifact_at(things / "names.txt") == ""
    assert mistaken_for(things / "run", "a run") == mistaken_for(things / "folder", "a run") == ""
    run = things / "run"
    assert mistaken_for(run, "a detector") == (
        f"{run}: is a run, not a detector; use {run / 'detector'}"
    )


MISTAKES = [
    (["score", "bundle", "names.txt"], "bundle: is a bundle of models, not a detector"),
    (["score", "folder", "names.txt"], "folder: holds no detector; give one that"),
    (["score", "names.txt", "names.txt"], "names.txt: is a file, not the directory of a detector"),
    (["synthesize", "run/detector", "--export", "new"], "is a detector, not a run; use"),
    (["synthesize", "names.txt", "--export", "new"], "no run.toml there; name the directory"),
    (["report", "run"], "run: is a run, not a directory of results; `synood evaluate`"),
    (["fit", "run", "--out", "new"], "run: is a run; fit needs one folder of images per class"),
    (["fit", "bundle", "--out", "new"], "bundle: is a bundle of models; fit needs one"),
    (["mine", "--models", "run", "--out", "new"], "run: is a run, not a bundle of models; give"),
    (
        ["zero-shot", "--models", "run/detector", "--classes", "names.txt", "--out", "new"],
        "is a detector, not a bundle of models; give 'mini'",
    ),
]


@pytest.mark.parametrize(("words", "said"), MISTAKES)
def test_a_mix_up_is_named_with_what_to_give(things, monkeypatch, capsys, words, said):
    monkeypatch.chdir(things)

    assert main(words) == 2
    assert said in capsys.readouterr().err
    assert not (things / "new").exists()


def test_a_detector_that_lacks_its_config_is_to_be_restored(things, tmp_path, capsys):
    shutil.copytree(things / "run" / "detector", tmp_path / "copy")
    (tmp_path / "copy" / "config.json").unlink()

    assert main(["score", str(tmp_path / "copy"), str(things / "names.txt")]) == 2
    assert "config.json: missing; restore the detector directory" in capsys.readouterr().err
