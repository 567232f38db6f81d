"""Whole detectors as files: every kind of encoder, what is refused, and bytes that repeat."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_images

import tiny
import tiny_encoders
import tiny_resnet_clip
from small_detector import make_detector
from synood import OODDetector
from synood.deploy import _assembling, _network
from synood.deploy._assembling import detector_model
from synood.deploy._comparing import Comparison, ExportError, made_up_images
from synood.deploy.exporting import export_onnx
from synood.deploy.onnx_detector import OnnxDetector
from synood.detector.backbone import Backbone
from synood.detector.prediction import Prediction
from synood.errors import InputError
from synood.models.clip import ClipEncoder
from synood.models.resnet_clip import ResNetClipEncoder
from synood.models.siglip import SiglipEncoder
from synood.settings import ScoreSettings

pytestmark = pytest.mark.numerical


def with_encoder(encoder):
    """A detector whose texts the encoder reads itself."""

    def unit(texts):
        rows = encoder.encode_texts(texts)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    negatives = ("tree", "nice tree", "the only", "nice")
    return OODDetector(
        encoder=Backbone("mine", encoder.fingerprint, encoder=encoder),
        class_names=("cat", "dog"),
        prompt_set="neglabel",
        class_features=unit(["cat", "dog"]),
        negative_prompts=negatives,
        negative_features=unit(negatives),
        settings=ScoreSettings(temperature=0.1, groups=2, seed=7),
        threshold=0.0,
    )


def photographs():
    whole = [Image.fromarray(array) for array in load_sample_images().images]
    return [*whole, whole[0].resize((90, 400)), whole[1].resize((300, 70)), *made_up_images()]


ENCODERS = {
    "clip": lambda path: ClipEncoder.from_pretrained(tiny.tiny_clip(path)),
    "siglip": lambda path: SiglipEncoder.from_pretrained(tiny_encoders.tiny_siglip(path)),
    "resnet-clip": lambda path: ResNetClipEncoder.from_pretrained(
        tiny_resnet_clip.tiny_resnet_clip(path)
    ),
}


@pytest.mark.parametrize("kind", ENCODERS)
def test_every_kind_of_tower_is_exported(kind, tmp_path, capfd):
    detector = with_encoder(ENCODERS[kind](tmp_path / "encoder"))
    capfd.readouterr()
    found = export_onnx(detector, tmp_path / "made.onnx")
    assert capfd.readouterr() == ("", "")  # torch's exporter would tell its steps
    assert found.size == (tmp_path / "made.onnx").stat().st_size
    file = OnnxDetector.from_file(tmp_path / "made.onnx", threads=1)
    images = photographs()
    own, theirs = detector.predict(images), file.predict(images)
    scores = np.array([[a.score, b.score] for a, b in zip(own, theirs, strict=True)])
    spread = np.ptp(scores[:, 0])
    assert spread > 0.05
    np.testing.assert_allclose(scores[:, 1], scores[:, 0], atol=0.02 * spread)
    assert [a.label for a in own] == [b.label for b in theirs]
    outputs = file.outputs(np.stack([np.asarray(image) for image in images[:2]]))
    features = detector.embed(images[:2])
    assert outputs["features"].shape == features.shape
    np.testing.assert_allclose(outputs["features"], features, atol=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("bundle", ["photo", "mini"])
def test_the_embedded_encoders_are_exported(bundle, tmp_path):
    detector = OODDetector.from_classes(["flower", "dog", "house"], models=bundle)
    found = export_onnx(replace(detector, threshold=0.0), tmp_path / "made.onnx")
    assert found.comparison.images == len(made_up_images())
    assert found.comparison.distance < 0.1
    file = OnnxDetector.from_file(tmp_path / "made.onnx", threads=1)
    images = photographs()
    own, theirs = detector.predict(images), file.predict(images)
    for a, b in zip(own, theirs, strict=True):
        assert a.label == b.label
        assert a.score == pytest.approx(b.score, abs=0.1)


def test_the_same_detector_gives_the_same_bytes_and_nothing_of_this_machine(
    tiny_detector, tiny_file, tmp_path
):
    detector = OODDetector.from_pretrained(tiny_detector)
    export_onnx(detector, tmp_path / "again.onnx")
    data = tiny_file.read_bytes()
    assert (tmp_path / "again.onnx").read_bytes() == data
    for path in (tiny_detector.parent, tmp_path, _assembling.__file__):
        assert str(path).encode() not in data
    assert b".py" not in data


def test_features_alone_need_no_encoder(tmp_path):
    from planted import CLASSES, around

    rows, labels = around(CLASSES, 30, 0), np.repeat(np.arange(3), 30)
    detector = OODDetector.from_features(rows, labels, list(CLASSES))
    with pytest.raises(InputError, match="--input features"):
        export_onnx(detector, tmp_path / "made.onnx")
    assert list(tmp_path.iterdir()) == []
    found = export_onnx(detector, tmp_path / "made.onnx", input="features")
    assert found.comparison.images > 16
    file = OnnxDetector.from_file(tmp_path / "made.onnx")
    assert file.predict_features(rows)[0].label == CLASSES[0]
    with pytest.raises(InputError, match=r"made\.onnx: takes features, not images"):
        file.outputs(np.zeros((1, 8, 8, 3), np.uint8))
    with pytest.raises(InputError, match=r"not \(N, 12\)"):
        file.predict_features(rows[:, :5])
    assert file.predict_features(rows[:0]) == []


def test_an_encoder_of_another_kind_is_refused_by_name(tmp_path):
    with pytest.raises(InputError, match="encoder 'colours': cannot be exported"):
        export_onnx(make_detector(), tmp_path / "made.onnx")
    assert list(tmp_path.iterdir()) == []


def test_weights_beyond_one_file_are_refused_by_name(tmp_path, monkeypatch):
    monkeypatch.setattr(_network, "LARGEST", 1000)
    encoder = ENCODERS["clip"](tmp_path / "encoder")
    with pytest.raises(InputError, match=r"encoder 'encoder': .* GiB of weights are more than"):
        export_onnx(with_encoder(encoder), tmp_path / "made.onnx")
    assert not (tmp_path / "made.onnx").exists()


def test_what_torch_cannot_export_is_refused_by_name(tmp_path):
    encoder = ENCODERS["clip"](tmp_path / "encoder")

    def by_its_pixels(inputs):
        return inputs.flatten(1)[:, :16] if inputs.sum() > 0 else inputs.flatten(1)[:, 16:32]

    encoder._image_features = by_its_pixels
    with pytest.raises(InputError, match="encoder 'encoder': cannot be exported"):
        export_onnx(with_encoder(encoder), tmp_path / "made.onnx")


def test_a_file_that_scores_otherwise_is_not_written(tmp_path, tiny_detector, monkeypatch):
    """The comparison is made before the file has its name."""
    detector = OODDetector.from_pretrained(tiny_detector)
    wrong = replace(detector, settings=replace(detector.settings, temperature=1e-3))
    data = detector_model(wrong, "image", "float32", ())
    monkeypatch.setattr(_assembling, "detector_model", lambda *_: data)
    with pytest.raises(ExportError, match="differ from the detector's"):
        export_onnx(detector, tmp_path / "made.onnx")
    assert list(tmp_path.iterdir()) == []


def test_what_is_compared():
    def of(score, is_ood, label="cat", error=None):
        return Prediction(score, is_ood, label, None, error)

    own = [of(1.0, False), of(-1.0, True), of(0.1, False), of(np.nan, None, "", "broken")]
    theirs = [of(1.1, False), of(-1.0, True, "dog"), of(-0.1, True), of(np.nan, None, "", "broken")]
    found = Comparison.of(own, theirs)
    assert (found.images, found.differing, found.renamed) == (3, 1, 1)
    assert found.distance == pytest.approx(0.2)
    found.check("float32")
    with pytest.raises(ExportError):
        Comparison.of(own[:1], [of(np.nan, True)]).check("int8")


def test_whole_numbers_of_8_bits(tmp_path):
    """A network of convolutions learns its ranges from images; a transformer needs none."""
    random = np.random.default_rng(0)
    images = [random.integers(0, 256, (40, 50, 3), dtype=np.uint8) for _ in range(9)]
    for kind, given in (("clip", ()), ("resnet-clip", images)):
        detector = with_encoder(ENCODERS[kind](tmp_path / kind))
        whole, small = tmp_path / f"{kind}.onnx", tmp_path / f"{kind}-8.onnx"
        export_onnx(detector, whole)
        export_onnx(detector, small, precision="int8", images=(*given, tmp_path / "gone.jpg"))
        assert small.stat().st_size < 0.7 * whole.stat().st_size
        file = OnnxDetector.from_file(small, threads=1)
        assert file.metadata.precision == "int8"
        batch = np.stack(images)
        ours, theirs = (
            OnnxDetector.from_file(path, threads=1).outputs(batch)["features"]
            for path in (whole, small)
        )
        cosines = (ours * theirs).sum(1) / np.linalg.norm(ours, axis=1)
        assert (cosines / np.linalg.norm(theirs, axis=1)).min() > 0.98
        assert (ours != theirs).any()
    with pytest.raises(InputError, match="--images FOLDER"):
        export_onnx(detector, small, precision="int8")
    with pytest.raises(InputError, match="is of the encoder"):
        export_onnx(detector, small, input="features", precision="int8")
