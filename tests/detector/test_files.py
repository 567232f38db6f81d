"""A detector directory: the same bytes for the same detector, replaced whole or not at all."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from colours import ColourEncoder, picture
from small_detector import make_detector, unit
from synood import OODDetector, __version__
from synood.errors import InputError
from synood.files import sha256_file
from synood.settings import ScoreSettings
from synood.tuning.projection import Projection

FILES = ["README.md", "config.json", "model.safetensors", "negatives.txt"]


def contents(path):
    return {file.name: file.read_bytes() for file in sorted(path.iterdir())}


def test_a_directory_holds_the_four_files_and_gives_the_same_detector_back(saved):
    assert [path.name for path in sorted(saved.iterdir())] == FILES
    original = make_detector().calibrate([0.5, 0.6, 0.7], tpr=0.7)
    loaded = OODDetector.from_pretrained(saved)
    for field in dataclasses.fields(OODDetector):
        before, after = getattr(original, field.name), getattr(loaded, field.name)
        if field.name == "calibration":
            np.testing.assert_array_equal(before.scores, after.scores)
        if isinstance(before, np.ndarray):
            np.testing.assert_array_equal(before, after)
            assert before.dtype == after.dtype
        else:
            assert before == after, field.name
    features = ColourEncoder().encode_images([picture("red"), picture("blue")])
    np.testing.assert_array_equal(
        loaded.score_features(features), original.score_features(features)
    )


def test_the_same_detector_gives_the_same_bytes_and_so_does_a_loaded_one(saved, tmp_path):
    make_detector().calibrate([0.5, 0.6, 0.7], tpr=0.7).save_pretrained(tmp_path / "again")
    assert contents(tmp_path / "again") == contents(saved)
    OODDetector.from_pretrained(saved).save_pretrained(tmp_path / "copy")
    assert contents(tmp_path / "copy") == contents(saved)


def test_a_projection_comes_back_bit_for_bit(tmp_path):
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=size).astype(np.float32) for size in [(4, 4), 4, 4, 4]]
    tuned = make_detector(projection=Projection(*arrays, 1e-5))
    tuned.save_pretrained(tmp_path / "detector")
    loaded = OODDetector.from_pretrained(tmp_path / "detector")
    features = ColourEncoder().encode_images([picture("red"), picture("blue")])
    np.testing.assert_array_equal(loaded.score_features(features), tuned.score_features(features))
    loaded.save_pretrained(tmp_path / "copy")
    assert contents(tmp_path / "copy") == contents(tmp_path / "detector")


def test_thresholds_by_class_come_back_with_their_scores_and_labels(tmp_path):
    names = ["red", "grün"]
    labels = [names[row % 2] for row in range(60)]
    made = make_detector().calibrate(np.arange(60) % 50, 0.9, per_class=True, labels=labels)
    made.save_pretrained(tmp_path / "detector")
    loaded = OODDetector.from_pretrained(tmp_path / "detector")
    for row in (0, 1):
        expected = made.calibration.threshold_of(row)
        assert loaded.calibration.threshold_of(row) == expected
    np.testing.assert_array_equal(
        loaded.p_values([3.0, 3.0], names), made.p_values([3.0, 3.0], names)
    )
    card = (tmp_path / "detector" / "README.md").read_text()
    assert "below the threshold of its predicted class; 2 classes have one of their own" in card
    with pytest.raises(InputError, match="none of the detector's 2 classes"):
        loaded.p_values([3.0], ["blue"])
    with pytest.raises(InputError, match="give the predicted classes too"):
        loaded.p_values([3.0])
    with pytest.raises(InputError, match="per_class needs the predicted labels"):
        made.calibrate(range(60), per_class=True)


def test_config_and_card_say_what_it_is(saved):
    config = json.loads((saved / "config.json").read_text())
    assert config["schema"] == 2
    assert config["synood"] == __version__
    assert config["class_names"] == ["red", "grün"]
    assert config["backbone"] == {
        "bundle": "colours",
        "fingerprint": ColourEncoder.fingerprint,
        "path": None,
    }
    assert config["score"] == {"temperature": 0.5, "groups": 2, "seed": 7}
    assert config["calibration"]["images"] == 3
    assert config["calibration"]["tpr_reached"] == 1.0
    assert config["threshold"] == 0.5
    assert config["files"] == {name: sha256_file(saved / name) for name in config["files"]}
    card = (saved / "README.md").read_text()
    for part in [
        "- red",
        "- grün",
        "`paper`",
        "mean over 2 groups",
        "only 3 images",
        "linear probe",
    ]:
        assert part in card


def test_the_card_of_an_uncalibrated_detector_says_how_to_set_a_threshold(tmp_path):
    names = tuple(f"class {number}" for number in range(60))
    many = make_detector(class_names=names, class_features=unit(names))
    many.save_pretrained(tmp_path / "detector")
    card = (tmp_path / "detector" / "README.md").read_text()
    assert "`detector.calibrate(images)`" in card
    assert "and 20 more" in card
    assert "class 45" not in card
    assert "mean over 2 groups" in card
    by_hand = dataclasses.replace(many, threshold=0.25, settings=ScoreSettings(groups=4))
    by_hand.save_pretrained(tmp_path / "detector")
    card = (tmp_path / "detector" / "README.md").read_text()
    assert "score is below 0.25. It was set by hand." in card
    assert "all negatives together" in card


def test_negatives_are_a_plain_list_of_prompts(saved):
    lines = (saved / "negatives.txt").read_text().splitlines()
    assert lines == list(make_detector().negative_prompts)


def test_names_with_odd_characters_survive(tmp_path):
    prompts = ("a line\u2028separator", 'tab\tand "quote"', " spaces ")
    odd = make_detector(
        class_names=("naïve “x”", "日本"), negative_prompts=prompts, negative_features=unit(prompts)
    )
    odd.save_pretrained(tmp_path / "detector")
    loaded = OODDetector.from_pretrained(tmp_path / "detector")
    assert loaded.negative_prompts == prompts
    assert loaded.class_names == odd.class_names


def test_a_detector_is_replaced_and_nothing_else_is_left(directory):
    make_detector(recipe="released").save_pretrained(directory)
    assert OODDetector.from_pretrained(directory).recipe == "released"
    assert [path.name for path in sorted(directory.parent.iterdir())] == ["detector"]
    assert oct(directory.stat().st_mode)[-3:] == "755"


def test_new_and_empty_places_are_filled(tmp_path):
    (tmp_path / "empty").mkdir()
    for path in [tmp_path / "empty", tmp_path / "deep" / "new"]:
        make_detector().save_pretrained(path)
        assert OODDetector.from_pretrained(path).class_names == ("red", "grün")


def test_a_linked_place_is_replaced_behind_the_link(directory, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(directory)
    make_detector(recipe="released").save_pretrained(link)
    assert link.is_symlink()
    assert OODDetector.from_pretrained(directory).recipe == "released"


def test_what_is_no_detector_is_never_replaced(directory, tmp_path):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "1.jpg").write_text("mine")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text('{"model_type": "clip"}')
    (directory / "notes.txt").write_text("mine")
    for name, held in [("file", "is a file"), ("photos", r"1\.jpg"), ("model", r"config\.json")]:
        with pytest.raises(InputError, match=rf"{name}: .*{held}"):
            make_detector().save_pretrained(tmp_path / name)
    with pytest.raises(InputError, match=r"detector: holds 'notes\.txt'"):
        make_detector().save_pretrained(directory)
    assert (tmp_path / "file").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "detector",
        "file",
        "model",
        "photos",
    ]


def test_a_place_that_cannot_be_written_to_is_named(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match="below: cannot be written"):
        make_detector().save_pretrained(tmp_path / "file" / "below")


def test_a_prompt_with_a_line_break_is_refused_and_the_old_detector_stays(directory):
    before = contents(directory)
    broken = make_detector(negative_prompts=("a\nb", "c", "d"))
    with pytest.raises(InputError, match="holds a line break"):
        broken.save_pretrained(directory)
    assert contents(directory) == before


@pytest.mark.parametrize("moment", [0, 1])
def test_a_failure_while_replacing_leaves_the_old_detector_and_no_rubbish(
    directory, monkeypatch, moment
):
    before = contents(directory)
    calls = []
    rename = Path.replace

    def fail_once(self, target):
        calls.append(self)
        if len(calls) == moment + 1:
            raise OSError(28, "No space left on device")
        return rename(self, target)

    # The two renames of a system that cannot exchange directories.
    monkeypatch.setattr("synood.files._exchanged", lambda *_: False)
    monkeypatch.setattr(Path, "replace", fail_once)
    with pytest.raises(InputError, match=r"detector: cannot be written \(No space left"):
        make_detector(recipe="released").save_pretrained(directory)
    assert contents(directory) == before
    assert [path.name for path in sorted(directory.parent.iterdir())] == ["detector"]


def test_the_card_is_for_people_and_may_be_edited_or_absent(directory):
    expected = OODDetector.from_pretrained(directory).threshold
    (directory / "README.md").write_text("# Mine")
    assert OODDetector.from_pretrained(directory).threshold == expected
    (directory / "README.md").unlink()
    assert OODDetector.from_pretrained(directory).threshold == expected
