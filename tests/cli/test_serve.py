"""`synood serve`: what it refuses before it listens. Its answers have tests in tests/serving."""

import socket

import numpy as np
import pytest

from bundling import CLASSES
from synood import OODDetector
from synood.serving.served import detector_places


def test_a_port_in_use_is_refused_before_anything_is_loaded(refused, detector):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        assert f"--port {port}: is in use" in refused("serve", detector, "--port", port)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--port", "70000"), "--port: must be from 0 to 65535"),
        (("--host", "no.such.host.invalid"), "is no address of this machine"),
        (("--host", "203.0.113.7"), "--host 203.0.113.7: is no address of this machine"),
        (("--max-body", "0"), "--max-body: must be above 0"),
        (("--max-wait", "nan"), "--max-wait: must be above 0"),
        (("--max-files", "500"), "--max-queue: 256 is less than one request"),
        (("--max-body", "500"), "--max-uploads: 256 MiB is less than one request"),
        (("--max-pixels", "90"), "--max-pixels: at most 89"),
        (("--key-file", "nowhere"), "nowhere"),
    ],
)
def test_options_that_cannot_be_kept_are_refused(refused, detector, options, told):
    port = () if "--port" in options else ("--port", "0")
    assert told in refused("serve", detector, *port, *options)


@pytest.mark.parametrize(
    ("key", "told"),
    [("", "is empty"), ("short", "has under 16 characters"), ("ü" * 20, "one word of ASCII")],
)
def test_keys_that_protect_nothing_are_refused(refused, detector, tmp_path, monkeypatch, key, told):
    (tmp_path / "key").write_text(f"{key}\n")
    line = refused("serve", detector, "--port", "0", "--key-file", tmp_path / "key")
    assert told in line
    assert "openssl rand -hex 32" in line
    monkeypatch.setenv("SYNOOD_API_KEY", key)
    line = refused("serve", detector, "--port", "0")
    assert line.startswith("synood: SYNOOD_API_KEY: the key ")
    assert told in line


def test_a_detector_without_threshold_is_refused(refused, bundle, tmp_path):
    made = OODDetector.from_classes(CLASSES, models=bundle, share=0.9)
    made.save_pretrained(tmp_path / "d")
    line = refused("serve", tmp_path / "d", "--port", "0")
    assert "has no threshold yet; set one with `synood calibrate`" in line


def test_a_detector_without_encoder_is_refused(refused, tmp_path):
    features = np.random.default_rng(0).normal(size=(60, 8)).astype(np.float32)
    made = OODDetector.from_features(features, np.arange(60) % 2, ["cat", "dog"])
    made.save_pretrained(tmp_path / "d")
    line = refused("serve", tmp_path / "d", "--port", "0")
    assert "has no encoder for images, so it cannot be served" in line


def test_a_folder_without_detectors_is_refused(refused, tmp_path, bundle):
    (tmp_path / "empty").mkdir()
    assert "holds no detector" in refused("serve", tmp_path / "empty", "--port", "0")
    assert "no such directory" in refused("serve", tmp_path / "nowhere", "--port", "0")
    assert "is a bundle of models" in refused("serve", bundle, "--port", "0")


def test_without_the_extra_it_says_what_to_install(refused, detector, monkeypatch):
    import sys

    for name in [name for name in sys.modules if name.startswith("synood.serving.")]:
        if name != "synood.serving.limits":
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert "pip install 'synood[serve]'" in refused("serve", detector, "--port", "0")


def test_detectors_are_named_by_their_directory_or_their_run(tmp_path, detector):
    import shutil

    for name in ("b", "a", ".hidden", "a run/detector"):
        shutil.copytree(detector, tmp_path / "all" / name)
    (tmp_path / "all" / "a run" / "run.toml").write_text("")
    (tmp_path / "all" / "notes").mkdir()
    found = detector_places(tmp_path / "all")
    assert found == {
        name: tmp_path / "all" / path
        for name, path in (
            (".hidden", ".hidden"),
            ("a", "a"),
            ("a run", "a run/detector"),
            ("b", "b"),
        )
    }
    assert [*found] == [".hidden", "a", "a run", "b"]
    assert detector_places(tmp_path / "all" / "a run") == {"a run": found["a run"]}
    assert [*detector_places(found["a run"])] == ["a run"]
    assert [*detector_places(tmp_path / "all" / "b")] == ["b"]
