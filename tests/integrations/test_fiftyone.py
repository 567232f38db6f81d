"""The source of FiftyOne's zoo: its manifest, and its model by the protocol, without FiftyOne.

Where FiftyOne is installed its own reader and loader are asked as well.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from bundling import CLASSES
from synood import OODDetector
from synood.errors import InputError

SOURCE = Path(__file__).parents[2] / "integrations" / "fiftyone"


@pytest.fixture(scope="module")
def zoo():
    """The source imported as FiftyOne imports it."""
    spec = importlib.util.spec_from_file_location("synood_zoo", SOURCE / "__init__.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["synood_zoo"] = module
    spec.loader.exec_module(module)
    yield module
    for name in [name for name in sys.modules if name.startswith("synood_zoo")]:
        del sys.modules[name]


@pytest.fixture(scope="module")
def detector(bundle, images):
    made = OODDetector.from_classes(CLASSES, models=bundle, share=0.9)
    return made.calibrate(images, tpr=0.7)


@pytest.fixture(scope="module")
def files(images):
    return sorted(images.rglob("*.png"))


@pytest.fixture
def model(zoo, detector):
    return sys.modules["synood_zoo.zoo"].Predictor(detector, SimpleNamespace)


def test_the_manifest_has_what_the_zoo_looks_for():
    manifest = json.loads((SOURCE / "manifest.json").read_text())
    # without a name FiftyOne skips the source in silence; it is also the name of the module that
    # FiftyOne makes of the source, so it must not be that of a package
    assert manifest["name"] == "synood-detectors"
    assert importlib.util.find_spec(manifest["name"]) is None
    (entry,) = manifest["models"]
    assert entry["base_name"] == "synood-detector"
    assert entry["base_filename"]  # where FiftyOne looks whether the model was downloaded
    assert entry["requirements"] == {"cpu": {"support": True}, "gpu": {"support": True}}
    assert sorted(path.name for path in SOURCE.iterdir() if path.suffix) == [
        "__init__.py", "manifest.json", "zoo.py",
    ]  # fmt: skip


def test_the_source_has_the_functions_that_the_zoo_calls(zoo, tmp_path, detector):
    zoo.download_model("synood-detector", str(tmp_path / "mark.txt"))
    assert (tmp_path / "mark.txt").is_file()
    with pytest.raises(InputError, match=r'name a detector, as in load_zoo_model\("synood-det'):
        zoo.load_model("synood-detector", str(tmp_path / "mark.txt"))
    detector.save_pretrained(tmp_path / "detector")
    assert callable(zoo.resolve_input)


def test_labels_are_the_verdicts_of_the_detector(model, detector, files):
    expected = detector.predict(files)
    samples = [SimpleNamespace(filepath=str(file), media_type="image") for file in files]
    decoded = [np.zeros((2, 2, 3), np.uint8)] * len(files)  # the file is what counts
    found = model.predict_all(decoded, samples)
    assert [one.score for one in found] == [one.score for one in expected]
    assert [one.p_value for one in found] == [one.p_value for one in expected]
    assert [one.nearest_class for one in found] == [one.label for one in expected]
    for one, verdict in zip(found, expected, strict=True):
        assert one.label == ("out-of-distribution" if verdict.is_ood else verdict.label)
        distance = abs(verdict.score - detector.threshold)
        assert one.confidence == pytest.approx(1 / (1 + np.exp(-distance)), abs=1e-6)
        assert 0.5 <= one.confidence <= 1
    assert {one.is_ood for one in expected} == {True, False}
    assert model.predict(decoded[0], samples[0]) == found[0]


def test_arrays_of_any_sizes_are_taken_where_there_is_no_file(model, detector, files):
    arrays = [np.asarray(Image.open(file).convert("RGB")) for file in files[:3]]
    arrays.append(arrays[0][:11, :17])
    expected = detector.score(arrays).tolist()
    frames = [SimpleNamespace(frame_number=number) for number in range(4)]
    videos = [SimpleNamespace(filepath="film.mp4", media_type="video")] * 4
    for found in (
        model.predict_all(arrays),
        model.predict_all(arrays, frames),
        model.predict_all(arrays, videos),
    ):
        assert [one.score for one in found] == expected
    same = np.stack(arrays[:3])  # NHWC
    assert [one.score for one in model.predict_all(same)] == expected[:3]
    assert model.predict(arrays[3]).score == expected[3]


def test_embeddings_are_the_features_of_the_encoder(model, detector, files):
    arrays = [np.asarray(Image.open(file).convert("RGB")) for file in files[:3]]
    np.testing.assert_array_equal(model.embed_all(arrays), detector.embed(arrays))
    np.testing.assert_array_equal(model.embed(arrays[0]), detector.embed(arrays[:1])[0])
    assert model.has_embeddings


def test_what_apply_model_sets_can_be_set(model):
    assert model.media_type == "image"
    assert model.transforms is None
    assert not model.ragged_batches  # so that batches of any sizes come to predict_all
    model.preprocess = False
    model.needs_fields = {}
    with model as entered:
        assert entered is model


def test_an_unreadable_file_and_a_detector_without_a_threshold_are_errors(
    zoo, model, tmp_path, bundle, detector
):
    (tmp_path / "broken.png").write_bytes(b"no image")
    sample = SimpleNamespace(filepath=str(tmp_path / "broken.png"), media_type="image")
    with pytest.raises(InputError, match=r"broken\.png"):
        model.predict(None, sample)
    bare = OODDetector.from_classes(CLASSES, models=bundle, share=0.9)
    with pytest.raises(InputError, match="has no threshold yet"):
        type(model)(bare, SimpleNamespace)


def test_fiftyone_itself_finds_loads_and_runs_it(tmp_path, monkeypatch, detector, files, bundle):
    monkeypatch.setenv("FIFTYONE_DATABASE_VALIDATION", "false")
    fo = pytest.importorskip("fiftyone", reason="FiftyOne is not among the pinned versions")
    foz = pytest.importorskip("fiftyone.zoo")
    shutil.copytree(SOURCE, tmp_path / "zoo" / "synood-detectors")
    monkeypatch.setattr(fo.config, "model_zoo_dir", str(tmp_path / "zoo"))
    detector.save_pretrained(tmp_path / "detector")
    loaded = foz.load_zoo_model(
        "synood-detector", detector=str(tmp_path / "detector"), models=str(bundle)
    )
    samples = [fo.Sample(filepath=str(file)) for file in files]
    found = loaded.predict_all([None] * len(files), samples)
    assert all(isinstance(one, fo.Classification) for one in found)
    assert [one.score for one in found] == detector.score(files).tolist()
    loaded.needs_fields, loaded.preprocess = {}, False
    assert loaded.has_embeddings
