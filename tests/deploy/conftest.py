"""A detector of the tiny bundle and what `synood export` makes of it, once for all tests."""

import pytest

from bundling import CLASSES
from synood import OODDetector
from synood.deploy.exporting import export_onnx


@pytest.fixture(scope="session")
def tiny_detector(tmp_path_factory):
    """A calibrated detector with a CLIP of random weights; nobody may write to it."""
    from bundling import tiny_bundle
    from small_run import make_pictures

    root = tmp_path_factory.mktemp("deploy")
    bundle = tiny_bundle(root / "bundle")
    pictures = make_pictures(root / "pictures", count=7)
    made = OODDetector.from_classes(CLASSES, models=bundle, share=0.9)
    made.calibrate(pictures, tpr=0.8).save_pretrained(root / "detector")
    return root / "detector"


@pytest.fixture(scope="session")
def tiny_file(tiny_detector):
    """The same as one ONNX file."""
    path = tiny_detector.parent / "detector.onnx"
    export_onnx(OODDetector.from_pretrained(tiny_detector), path)
    return path


@pytest.fixture(scope="session")
def pictures(tiny_detector):
    return tiny_detector.parent / "pictures"
