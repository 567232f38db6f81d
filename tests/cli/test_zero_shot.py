"""`synood zero-shot` and `synood mine`: what is made of class names alone."""

import numpy as np

from synood import OODDetector
from synood.cli import main
from synood.models.bundles import load_bundle


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


def test_fields_without_effect_are_refused_or_said(refused, done, bundle, tmp_path):
    classes, words = tmp_path / "names.txt", tmp_path / "words.txt"
    classes.write_text("cat\ndog\n")
    words.write_text("rope\nlamp\n")
    line = ("zero-shot", "--classes", classes, "--models", bundle, "--out", tmp_path / "out")
    assert "--set negatives.epochs: has no effect here" in refused(
        *line, "--set", "negatives.epochs=3"
    )
    assert not (tmp_path / "out").exists()
    printed = done(*line, "--negatives", words, "--share", "0.5")
    assert (
        "warning: mining.share changes nothing here: the negative labels are given" in printed.err
    )


def test_names_that_are_no_class_names_are_warned_of(done, bundle, tmp_path):
    classes = tmp_path / "names.txt"
    classes.write_text("train\nval\n")
    for command in ("zero-shot", "mine"):
        words = (command, "--classes", classes, "--models", bundle, "--out", tmp_path / command)
        assert (
            "warning: class names 'train', 'val': parts of a dataset?"
            in done(*words, "--share", "0.9").err
        )


def test_photographs_are_the_default(in_process, tmp_path):
    names = tmp_path / "names.txt"
    names.write_text("cat\ndog\nhorse\n")
    made = in_process("zero-shot", "--classes", names, "--out", tmp_path / "detector")
    assert made.returncode == 0, made.stderr
    detector = OODDetector.from_pretrained(tmp_path / "detector")
    assert detector.backbone.bundle == "photo"
    recipe = load_bundle("photo").spec["recipe"]
    assert detector.settings.temperature == recipe["score"]["temperature"]
    words = load_bundle("photo").words()
    share = recipe["mining"]["share"]
    assert abs(len(detector.negative_prompts) - share * len(words)) < 0.01 * len(words)
