"""A damaged or forged detector directory: the file and what to do are named."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from colours import ColourEncoder, picture
from small_detector import change_config, rehash
from synood import OODDetector
from synood.errors import CheckpointError, InputError

READ = ["config.json", "model.safetensors", "negatives.txt"]


@pytest.mark.parametrize("name", READ)
def test_a_missing_file_is_named(directory, name):
    (directory / name).unlink()
    with pytest.raises(CheckpointError, match=f"{name}: missing; restore"):
        OODDetector.from_pretrained(directory)


@pytest.mark.parametrize("name", READ[1:])
def test_an_altered_file_is_named(directory, name):
    data = bytearray((directory / name).read_bytes())
    data[len(data) // 2] ^= 1
    (directory / name).write_bytes(data)
    with pytest.raises(CheckpointError, match=f"{name}: altered"):
        OODDetector.from_pretrained(directory)


@pytest.mark.parametrize("name", READ)
def test_a_link_out_of_the_directory_is_named(directory, tmp_path, name):
    shutil.move(directory / name, tmp_path / "elsewhere")
    (directory / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CheckpointError, match=f"{name}: is a link out of the directory"):
        OODDetector.from_pretrained(directory)


def test_a_missing_directory_says_what_to_give(tmp_path):
    with pytest.raises(CheckpointError, match="absent: no such directory; give one that"):
        OODDetector.from_pretrained(tmp_path / "absent")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "other"}, "not the config of a synood detector"),
        ({"schema": 3}, r"schema 3 is not known to synood .*install the version that wrote it"),
        ({"schema": None}, "schema None is not known"),
        ({"class_names": "red"}, "`class_names` is missing or of the wrong kind"),
        ({"class_names": ["red", 3]}, "`class_names` must hold texts"),
        ({"threshold": "high"}, "`threshold` is missing or of the wrong kind"),
        ({"score": {"temperature": 1.0}}, "expected the fields temperature, groups, seed"),
        ({"score": {"temperature": 1.0, "groups": 2.5, "seed": 0}}, "`groups` is 2.5"),
        ({"threshold": float("nan")}, "not readable as JSON .NaN is no number"),
        ({"backbone": {"bundle": "x"}}, "expected the fields bundle, fingerprint, path"),
        ({"calibration": {"threshold": 1.0}}, "expected the fields threshold, images"),
        ({"files": {}}, "`files` must name"),
        ({"files": {"../../etc/passwd": "0" * 64}}, "`files` must name"),
    ],
)
def test_a_config_that_cannot_be_used_names_the_field(directory, changes, message):
    change_config(directory, **changes)
    with pytest.raises(CheckpointError, match=rf"config\.json: {message}"):
        OODDetector.from_pretrained(directory)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "[" * 100_000, "\x00", '{"format": "synood-detector"}']
)
def test_a_config_that_is_no_config_is_refused(directory, text):
    (directory / "config.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"config\.json: "):
        OODDetector.from_pretrained(directory)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"class_names": ["red"]}, r"class_features should be float32 \(1, 4\), found float32"),
        ({"dim": 5}, r"class_features should be float32 \(2, 5\)"),
        ({"tuned_negatives": 1}, r"tuned_rows should be int64 \(1,\)"),
        ({"projection": True}, r"projection\.bias should be float32 \(4,\), found nothing"),
    ],
)
def test_shapes_that_disagree_with_the_config_are_refused(directory, changes, message):
    change_config(directory, **changes)
    with pytest.raises(CheckpointError, match=rf"model\.safetensors: {message}"):
        OODDetector.from_pretrained(directory)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.update(extra=np.zeros(1, np.float32)), "holds 'extra'"),
        (lambda t: t.pop("negative_features"), "negative_features should be .* found nothing"),
        (lambda t: t.update(class_features=np.eye(2, 4)), "found float64"),
        (lambda t: t["class_features"].fill(np.nan), "class features must have unit length"),
        (lambda t: t["tuned_rows"].fill(9), "tuned_rows must be ascending rows"),
        (lambda t: t.pop("calibration.scores"), r"calibration\.scores should be .* found nothing"),
        (lambda t: t["calibration.scores"].fill(np.nan), "scores must be 3 ascending numbers"),
        (
            lambda t: t.update({"calibration.labels": np.zeros(3, np.int64)}),
            "holds 'calibration.labels'",
        ),
    ],
)
def test_forged_tensors_are_refused_though_their_hash_fits(directory, change, message):
    tensors = load_file(directory / "model.safetensors")
    change(tensors)
    save_file(tensors, directory / "model.safetensors")
    rehash(directory)
    with pytest.raises(InputError, match=message):
        OODDetector.from_pretrained(directory)


def test_a_list_of_negatives_of_another_length_is_refused(directory):
    (directory / "negatives.txt").write_text("one\ntwo\n")
    rehash(directory)
    with pytest.raises(CheckpointError, match=r"negatives\.txt: 2 lines, but config\.json says 3"):
        OODDetector.from_pretrained(directory)


def test_text_that_is_not_utf_8_is_refused(directory):
    (directory / "negatives.txt").write_bytes(b"\xff\n" * 3)
    rehash(directory)
    with pytest.raises(CheckpointError, match=r"negatives\.txt: is not UTF-8"):
        OODDetector.from_pretrained(directory)


def test_pickled_weights_are_not_opened(directory):
    import pickle

    (directory / "model.safetensors").write_bytes(pickle.dumps({"class_features": 1}))
    rehash(directory)
    with pytest.raises(CheckpointError, match="not a safetensors file"):
        OODDetector.from_pretrained(directory)


@settings(max_examples=150)
@given(data=st.data())
def test_whatever_byte_is_changed_the_answer_is_a_detector_or_a_named_error(
    saved, tmp_path_factory, data
):
    directory = tmp_path_factory.getbasetemp() / "flipped"
    shutil.rmtree(directory, ignore_errors=True)
    shutil.copytree(saved, directory)
    name = data.draw(st.sampled_from(["config.json", "model.safetensors"]))
    content = bytearray((directory / name).read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] = data.draw(st.integers(0, 255))
    (directory / name).write_bytes(content)
    if name != "config.json" and data.draw(st.booleans()):
        rehash(directory)
    try:
        loaded = OODDetector.from_pretrained(directory)
        loaded.score_features(ColourEncoder().encode_images([picture("red")]))
    except InputError as error:
        message = str(error)
    else:
        message = ""
    assert "\n" not in message
