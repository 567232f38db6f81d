"""`synood calibrate`: unreadable and already known images, and fractions."""

import shutil

import pytest

from small_run import QUICK
from synood import OODDetector
from synood.cli import main


@pytest.fixture
def damaged(images, tmp_path):
    """Fifteen images of which one is damaged."""
    copy = shutil.copytree(images, tmp_path / "damaged")
    (copy / "dog" / "3.png").write_bytes(b"\x89PNG but not really")
    return copy


def test_one_damaged_image_is_named_and_skipped(done, detector, damaged, tmp_path):
    out = tmp_path / "out"
    printed = done("calibrate", detector, "--id", damaged, "--tpr", "0.9", "--out", out)
    assert OODDetector.from_pretrained(out).calibration.images == 14
    assert "dog/3.png" in printed.err
    assert "1 unreadable image skipped" in printed.err
    assert "14 in-distribution images" in printed.out


def test_too_many_damaged_images_stop_it(refused, detector, damaged, tmp_path):
    words = ("calibrate", detector, "--id", damaged, "--tpr", "0.9", "--out", tmp_path / "out")
    line = refused(*words, "--max-bad", "0")
    assert "1 of 15 images cannot be read" in line
    assert "dog/3.png" in line
    (damaged / "dog" / "2.png").write_bytes(b"none")
    assert "2 of 15 images cannot be read, more than --max-bad 0.05" in refused(*words)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("tpr", ["95", "0", "-1", "nan"])
def test_a_tpr_that_is_no_fraction_is_refused_before_the_work(
    refused, monkeypatch, detector, tpr, images
):
    monkeypatch.setattr("synood.detector.backbone.Backbone.load", lambda _: pytest.fail("loaded"))
    assert "0.95, not 95" in refused("calibrate", detector, "--id", images, f"--tpr={tpr}")


@pytest.mark.parametrize("max_bad", ["5", "-0.1", "nan"])
def test_max_bad_that_is_no_fraction_is_refused(refused, detector, images, max_bad):
    words = ("calibrate", detector, "--id", images, f"--max-bad={max_bad}")
    assert "0.05, not 5" in refused(*words)


@pytest.mark.parametrize(("recipe", "known"), [("paper", 2), ("plus", 5)])
def test_images_that_the_detector_was_tuned_on_are_named(
    done, bundle, images, others, tmp_path, capsys, recipe, known
):
    """Two of five are redrawn; the looks of all five are evidence for `plus`."""
    run = tmp_path / "run"
    fit = ["fit", images, "--models", bundle, "--out", run, "--recipe", recipe]
    fit += ["--batch-size", 2, "--set", *QUICK]
    assert main([str(word) for word in fit]) == 0
    capsys.readouterr()
    shutil.copytree(images / "cat", tmp_path / "held-out" / "renamed")

    sentence = f"warning: the detector was tuned on {known} of these 5 images"
    detector = run / "detector"
    measured = ("evaluate", detector, "--id", tmp_path / "held-out", "--ood", f"far={others}")
    printed = done(*measured)
    assert sentence in printed.err
    assert "renamed/" in printed.err
    few = ("--tpr", "0.8")  # for which five images are enough
    assert sentence in done("calibrate", detector, "--id", tmp_path / "held-out", *few).err
    elsewhere = shutil.copytree(detector, tmp_path / "elsewhere")
    assert "tuned on" not in done("calibrate", elsewhere, "--id", tmp_path / "held-out", *few).err
    assert "tuned on" not in done("calibrate", detector, "--id", others, *few).err


def test_too_few_images_are_refused_before_the_work(refused, monkeypatch, detector, images):
    monkeypatch.setattr("synood.detector.backbone.Backbone.load", lambda _: pytest.fail("loaded"))
    line = refused("calibrate", detector, "--id", images)
    assert "15 images are too few" in line
    assert "at least 19 are needed" in line


def test_a_threshold_for_each_class_that_has_enough_images(done, detector, images, tmp_path):
    out = tmp_path / "out"
    words = ("calibrate", detector, "--id", images, "--tpr", "0.7", "--per-class", "--out", out)
    printed = done(*words)
    loaded = OODDetector.from_pretrained(out)
    found = loaded.predict(images)
    enough = {one.label for one in found if [o.label for o in found].count(one.label) >= 3}
    assert f"({len(enough)} classes have their own)" in printed.out
    for one in found:
        row = loaded.class_names.index(one.label)
        assert one.is_ood == (one.score < loaded.calibration.threshold_of(row))
        assert one.is_ood == (one.p_value <= 0.3)
