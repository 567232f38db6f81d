"""An exported file in virtual environments that have onnxruntime and no torch."""

import json
import subprocess
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from packaging.requirements import Requirement
from PIL import Image
from sklearn.datasets import load_sample_images

from small_environment import imports, installed, make_environment
from synood import OODDetector
from synood.deploy.exporting import export_onnx

pytestmark = [pytest.mark.slow, pytest.mark.numerical]

ROOT = Path(__file__).parents[2]
CLASSES = ("temple", "flower", "dog")
HEAVY = ("torch", "transformers", "onnx", "onnxscript")


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """Parts of two photographs as JPEGs, turned, grey, CMYK or progressive, and PNGs on glass."""
    root = tmp_path_factory.mktemp("photographs")
    random = np.random.default_rng(0)
    for name, pixels in zip(("temple", "flower"), load_sample_images().images, strict=True):
        whole = Image.fromarray(pixels)
        for number in range(12):
            left, top, width, height = (int(n) for n in random.integers((0, 0, 90, 90), 220))
            part = whole.crop((left, top, left + width, top + height))
            exif = Image.Exif()
            exif[0x0112] = 1 + number % 8
            mode = ("RGB", "RGB", "RGB", "L", "CMYK")[number % 5]
            part.convert(mode).save(
                root / f"{name}-{number}.jpg", quality=75, exif=exif, progressive=number % 2 == 0
            )
        glass = whole.resize((200, 133)).convert("RGBA")
        glass.putalpha(Image.linear_gradient("L").resize(glass.size))
        glass.save(root / f"{name}-glass.png")
    return root


@pytest.fixture(scope="module")
def detector(photographs):
    """A detector of class names by the bundle `photo`, its threshold between two scores."""
    negatives = ["car", "violin", "cup", "bicycle", "fish", "keyboard", "bread", "mountain"]
    made = OODDetector.from_classes(CLASSES, models="photo", negatives=negatives, device="cpu")
    scores = np.sort(made.score(sorted(photographs.iterdir())))
    middle = len(scores) // 4 + int(np.diff(scores[len(scores) // 4 : -len(scores) // 4]).argmax())
    return replace(made, threshold=float(scores[middle : middle + 2].mean()))


@pytest.fixture(scope="module")
def file(detector, tmp_path_factory):
    path = tmp_path_factory.mktemp("exported") / "detector.onnx"
    export_onnx(detector, path)
    return path


def test_the_example_in_an_environment_of_its_own(detector, file, photographs, tmp_path):
    python = make_environment(tmp_path / "venv", ["onnxruntime", "numpy", "pillow"])
    assert {*installed(python)} == {
        "flatbuffers", "numpy", "onnxruntime", "packaging", "pillow", "protobuf",
    }  # fmt: skip
    assert not any(imports(python, module) for module in (*HEAVY, "safetensors", "synood"))
    paths = sorted(photographs.iterdir())
    done = subprocess.run(
        [python, "-I", ROOT / "examples" / "score_onnx.py", file, *paths],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    own = detector.predict(paths)
    for line, one, path in zip(done.stdout.splitlines(), own, paths, strict=True):
        verdict, score, label, name = line.split("\t")
        assert (verdict, label, name) == ("OOD" if one.is_ood else "in", one.label, str(path))
        assert float(score) == pytest.approx(one.score, abs=0.1)
    assert {one.is_ood for one in own} == {True, False}


def test_the_command_line_in_an_environment_of_its_own(detector, file, photographs, tmp_path):
    """All that synood requires, but for the two that load and run models."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    required = {Requirement(one).name for one in project["dependencies"]}
    left = required - {"torch", "transformers"}
    assert len(left) == len(required) - 2
    python = make_environment(tmp_path / "venv", ["onnxruntime", *left])
    assert not any(imports(python, module) for module in HEAVY)
    done = subprocess.run(
        [python, "-m", "synood", "score", file, photographs, "--format", "jsonl"],
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": str(ROOT / "src"), "HOME": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr
    own = [*detector.iter_predict(sorted(photographs.iterdir()))]
    for line, one in zip(done.stdout.splitlines(), own, strict=True):
        row = json.loads(line)
        assert (row["is_ood"], row["label"]) == (one.is_ood, one.label)
        assert row["score"] == pytest.approx(one.score, abs=0.1)
