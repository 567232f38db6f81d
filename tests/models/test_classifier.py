"""The classifier: the same logits as the library's own path, with a gradient, and honest errors."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.linear_model import LogisticRegression

import tiny
from colours import COLOURS, ColourEncoder, picture
from synood.errors import CheckpointError, InputError
from synood.models._pixels import PixelPreprocess, preprocess_from_config
from synood.models.classifier import ProbeClassifier, TransformersClassifier, train_probe
from tiny_classifiers import PROCESSORS, tiny_classifier

pytestmark = pytest.mark.numerical

CLASSES = ["cat", "dog", "fox"]
HALF = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return tiny.tiny_resnet(tmp_path_factory.mktemp("resnet"), CLASSES)


@pytest.fixture(scope="module")
def classifier(directory):
    return TransformersClassifier.from_pretrained(directory)


def noise(height, width, seed=0):
    """Smooth random picture: pure noise would only measure how resizing rounds."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (6, 7, 3), dtype=np.uint8))
    return small.resize((width, height), Image.Resampling.BICUBIC)


def pixels_of(image):
    return torch.from_numpy(np.asarray(image, np.float32) / 255).permute(2, 0, 1)[None]


def set_weight(directory, change):
    """Rewrite model.safetensors with `change` applied to its tensors."""
    from safetensors.torch import load_file, save_file

    tensors = load_file(directory / "model.safetensors")
    change(tensors)
    save_file(tensors, directory / "model.safetensors", {"format": "pt"})


def library_logits(directory, image, processor_class):
    """The processor and model of transformers, used as their documentation says."""
    import transformers

    processor = getattr(transformers, processor_class).from_pretrained(directory)
    model = transformers.AutoModelForImageClassification.from_pretrained(directory).eval()
    with torch.no_grad():
        return model(**processor(images=image, return_tensors="pt")).logits


@pytest.mark.parametrize(("height", "width"), [(64, 64), (50, 90), (90, 50), (20, 31)])
def test_logits_equal_those_of_the_librarys_processor(directory, classifier, height, width):
    image = noise(height, width)
    expected = library_logits(directory, image, "ConvNextImageProcessorPil")
    torch.testing.assert_close(classifier.logits(pixels_of(image)), expected, atol=1e-2, rtol=0)


def photograph(height, width, seed=0):
    """Noise with the spectrum of photographs: detail at every scale, down to single pixels."""
    rng = np.random.default_rng(seed)
    rows, columns = np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None]
    spectrum = np.fft.fft2(rng.normal(size=(3, height, width)))
    noise = np.fft.ifft2(
        spectrum / np.maximum(np.hypot(rows, columns), 1 / max(height, width))
    ).real
    noise = noise.mean(0) * 0.7 + noise * 0.3  # the channels of a photograph go together
    return Image.fromarray(
        (128 + 45 * noise / noise.std()).clip(0, 255).astype(np.uint8).transpose(1, 2, 0)
    )


@pytest.mark.parametrize("family", sorted(PROCESSORS))
def test_logits_on_photographs_equal_those_of_the_processor_of_each_family(family, tmp_path):
    directory = tiny_classifier(tmp_path, family, CLASSES)
    classifier = TransformersClassifier.from_pretrained(directory)
    sizes = [(375, 500), (313, 333), (227, 640), (117, 151), (225, 224)]
    images = [photograph(*size, seed) for seed, size in enumerate(sizes)]
    processor = PROCESSORS[family]["image_processor_type"] + "Pil"
    expected = torch.cat([library_logits(directory, image, processor) for image in images])
    found = torch.cat([classifier.logits(pixels_of(image)) for image in images])
    assert expected.std(0).max() > 0.5  # the pictures are told apart
    torch.testing.assert_close(found, expected, atol=1e-2, rtol=0)


@pytest.mark.parametrize(
    ("processor", "settings"),
    [
        ("ViTImageProcessorPil", {"size": {"height": 40, "width": 40}, "resample": 2}),
        ("ViTImageProcessorPil", {"size": {"height": 24, "width": 36}, "resample": 3}),
        (
            "CLIPImageProcessorPil",
            {
                "size": {"shortest_edge": 40},
                "resample": 3,
                "do_center_crop": True,
                "crop_size": {"height": 33, "width": 32},
            },
        ),
        ("ConvNextImageProcessorPil", {"size": {"shortest_edge": 384}, "resample": 2}),
    ],
)
def test_preprocessing_equals_each_kind_of_processor(processor, settings):
    import transformers

    config = {"image_processor_type": processor.removesuffix("Pil"), **settings, **HALF}
    image = noise(71, 53)
    made = getattr(transformers, processor)(**config)
    expected = made(images=image, return_tensors="pt")["pixel_values"]
    found = preprocess_from_config(config, "preprocessor_config.json")(pixels_of(image))
    # Pillow rounds to bytes after each of its two passes; normalising doubles the difference.
    torch.testing.assert_close(found, expected, atol=4 / 255, rtol=0)
    assert (found - expected).abs().mean() < 1 / 255


def test_old_files_mean_what_they_meant():
    old_clip = {"size": 224, "do_center_crop": True, "crop_size": 224, "resample": 3, **HALF}
    assert preprocess_from_config(old_clip, "x").resize == 224
    old_vit = preprocess_from_config({"size": 224, **HALF}, "x")
    assert (old_vit.resize, old_vit.crop, old_vit.interpolation) == ((224, 224), None, "bilinear")
    old_resnet = {"feature_extractor_type": "ConvNextFeatureExtractor", "size": 224, **HALF}
    assert preprocess_from_config({**old_resnet, "crop_pct": 0.875}, "x").resize == 256


def test_gradient_reaches_every_kept_pixel_and_agrees_with_finite_differences(classifier):
    pixels = pixels_of(noise(36, 36)).requires_grad_(True)  # not resized, so not rounded to bytes
    classifier.logits(pixels)[0, 1].backward()
    kept = torch.zeros_like(pixels)
    kept[..., 2:34, 2:34] = 1  # the centre crop
    assert torch.equal(pixels.grad != 0, kept.bool())
    length = pixels.grad.norm()
    step = 3e-3 * pixels.grad / length  # the steepest way: a difference far above rounding
    with torch.no_grad():
        ahead, behind = (classifier.logits(pixels + s * step)[0, 1] for s in (1, -1))
    assert float(length) == pytest.approx(float(ahead - behind) / 6e-3, rel=0.01)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_rounding_to_bytes_keeps_the_gradient_of_resizing(interpolation):
    steps = PixelPreprocess(20, None, interpolation, (0.0,) * 3, (1.0,) * 3)
    pixels = (pixels_of(noise(32, 32)).double() * 0.8 + 0.1).requires_grad_(True)
    resized = steps(pixels)
    weights = torch.randn(resized.shape, generator=torch.Generator().manual_seed(0)).double()
    (resized * weights).sum().backward()
    step = torch.rand(pixels.shape, generator=torch.Generator().manual_seed(1)).double() * 1e-3
    with torch.no_grad():
        ahead, behind = (
            torch.nn.functional.interpolate(
                pixels + s * step, (20, 20), mode=interpolation, antialias=True
            )
            for s in (1, -1)
        )
    expected = float(((ahead - behind) * weights).sum()) / 2
    assert float((pixels.grad * step).sum()) == pytest.approx(expected, rel=1e-9)


def test_logits_do_not_depend_on_the_batch(classifier):
    batch = torch.cat([pixels_of(noise(40, 40, seed)) for seed in range(5)])
    singles = torch.cat([classifier.logits(row[None]) for row in batch])
    torch.testing.assert_close(classifier.logits(batch), singles, atol=1e-5, rtol=0)


def test_names_come_in_the_order_of_the_logits_beyond_ten(tmp_path):
    names = [f"class {number}" for number in range(12)]
    loaded = TransformersClassifier.from_pretrained(tiny.tiny_resnet(tmp_path, names))
    assert loaded.class_names == tuple(names)


def test_fingerprint_follows_the_contents_and_not_the_place(tmp_path, classifier):
    same = tiny.tiny_resnet(tmp_path / "same", CLASSES)
    assert TransformersClassifier.from_pretrained(same).fingerprint == classifier.fingerprint
    other = tiny.tiny_resnet(tmp_path / "other", CLASSES, seed=1)
    assert TransformersClassifier.from_pretrained(other).fingerprint != classifier.fingerprint


def test_a_checkpoint_without_its_head_is_refused(tmp_path):
    directory = tiny.tiny_resnet(tmp_path, CLASSES)
    set_weight(directory, lambda tensors: tensors.pop("classifier.1.weight"))
    with pytest.raises(CheckpointError, match=r"1 weights are missing.*classifier\.1\.weight"):
        TransformersClassifier.from_pretrained(directory)


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json", "model.safetensors"])
def test_a_missing_file_is_an_error_that_names_the_directory(tmp_path, name):
    directory = tiny.tiny_resnet(tmp_path / "classifier", CLASSES)
    (directory / name).unlink()
    with pytest.raises(CheckpointError, match="classifier: no complete checkpoint"):
        TransformersClassifier.from_pretrained(directory)


def test_pickled_weights_are_not_opened(tmp_path):
    directory = tiny.tiny_resnet(tmp_path, CLASSES)
    (directory / "model.safetensors").unlink()
    torch.save({}, directory / "pytorch_model.bin")
    with pytest.raises(CheckpointError):
        TransformersClassifier.from_pretrained(directory)


def test_truncated_weights_are_an_error(tmp_path):
    directory = tiny.tiny_resnet(tmp_path, CLASSES)
    weights = directory / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(CheckpointError):
        TransformersClassifier.from_pretrained(directory)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"do_pad": True}, "`do_pad` is not supported"),
        ({"resample": 1}, "resample 1"),
        ({"size": None}, "no shortest_edge"),
        ({"image_mean": None}, "`image_mean`"),
    ],
)
def test_unknown_preprocessing_names_file_and_field(tmp_path, change, message):
    directory = tiny.tiny_resnet(tmp_path, CLASSES)
    path = directory / "preprocessor_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(InputError, match=rf"preprocessor_config\.json: .*{message}"):
        TransformersClassifier.from_pretrained(directory)


def test_a_crop_larger_than_the_image_is_refused():
    config = {"size": {"shortest_edge": 20}, "do_center_crop": True, "crop_size": 21, **HALF}
    with pytest.raises(InputError, match="crops"):
        preprocess_from_config(config, "p.json")


def test_overshooting_filters_stay_in_the_range_of_a_picture():
    stripes = torch.zeros(1, 3, 4, 8)
    stripes[..., ::2] = 1
    made = PixelPreprocess((16, 32), None, "bicubic", (0.0,) * 3, (1.0,) * 3)(stripes)
    assert made.min() >= 0
    assert made.max() <= 1


def colour_samples(per_class):
    encoder, names = ColourEncoder(), ["red", "green", "blue", "yellow"]
    pictures = [picture(name, noise=seed + 1) for name in names for seed in range(per_class)]
    return encoder, names, encoder.encode_images(pictures), np.repeat(np.arange(4), per_class)


def test_probe_tells_the_classes_apart_and_its_logits_have_a_gradient():
    encoder, names, features, labels = colour_samples(10)
    probe = train_probe(features, labels, names, encoder)
    fresh = torch.cat([pixels_of(picture(name, noise=99)) for name in names])
    assert probe.logits(fresh).argmax(1).tolist() == [0, 1, 2, 3]
    fresh.requires_grad_(True)
    probe.logits(fresh).logsumexp(1).sum().backward()
    assert (fresh.grad != 0).all()
    assert probe.class_names == tuple(names)


def overlapping_samples(seed=0):
    """Features of three classes that overlap, so that the best fit is not at infinity."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, 120)
    return rng.normal(size=(120, 4)) + 0.7 * np.eye(4)[labels], labels


@pytest.mark.parametrize("strength", [1e-2, 1e-3, 1e-4])
def test_the_fit_equals_scikit_learns_logistic_regression(monkeypatch, strength):
    features, labels = overlapping_samples()
    monkeypatch.setattr("synood.models.classifier._STRENGTHS", (strength,))
    probe = train_probe(features * 7, labels, CLASSES, ColourEncoder())
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    oracle = LogisticRegression(C=1 / (strength * len(labels)), tol=1e-10, max_iter=5000)
    oracle.fit(unit, labels)
    logits = unit @ probe.weight.T.astype(float) + probe.bias
    found = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.testing.assert_allclose(found, oracle.predict_proba(unit), atol=1e-4)


def test_a_strong_penalty_is_chosen_where_the_labels_mean_nothing():
    rng = np.random.default_rng(0)
    labels = np.tile([0, 1], 20)
    loud = train_probe(rng.normal(size=(40, 4)), labels, ["a", "b"], ColourEncoder())
    clear = train_probe(np.eye(4)[labels], labels, ["a", "b"], ColourEncoder())
    assert np.abs(loud.weight).max() < np.abs(clear.weight).max() / 5


def test_the_same_samples_give_the_same_probe_and_other_ones_another():
    features, labels = overlapping_samples()
    first, again = (train_probe(features, labels, CLASSES, ColourEncoder(), 3) for _ in range(2))
    assert first.weight.tobytes() == again.weight.tobytes()
    assert first.fingerprint == again.fingerprint
    other = train_probe(*overlapping_samples(1), CLASSES, ColourEncoder(), 3)
    assert other.fingerprint != first.fingerprint


def test_one_image_a_class_is_enough():
    encoder, names, features, labels = colour_samples(1)
    probe = train_probe(features, labels, names, encoder)
    logits = probe.logits(torch.cat([pixels_of(picture(name)) for name in names]))
    assert logits.argmax(1).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("features", "labels", "message"),
    [
        (np.ones((4, 4)), [0, 0, 1, 1], "class 'fox' has no image"),
        (np.ones((4, 4)), [0, 1, 2], "as many integer labels"),
        (np.ones((3, 4)), [0.0, 1.0, 2.0], "as many integer labels"),
        (np.ones((4, 4)), [0, 1, 2, 3], "labels must lie in 0 to 2"),
        (np.full((3, 4), np.nan), [0, 1, 2], "NaN"),
        (np.ones(3), [0, 1, 2], "as many integer labels"),
    ],
)
def test_samples_that_cannot_be_fitted_are_refused(features, labels, message):
    with pytest.raises(InputError, match=message):
        train_probe(features, labels, CLASSES, ColourEncoder())


def test_a_probe_of_the_wrong_shape_is_refused():
    with pytest.raises(InputError, match="do not fit 2 classes and 4 features"):
        ProbeClassifier(ColourEncoder(), np.zeros((2, 5)), np.zeros(2), ["a", "b"])


def test_every_colour_of_the_toy_is_distinct():
    assert len(set(COLOURS.values())) == len(COLOURS)


def test_the_head_on_the_penultimate_features_gives_the_logits(classifier, directory, tmp_path):
    from transformers import ViTConfig, ViTForImageClassification

    shape = {"hidden_size": 16, "intermediate_size": 20, "num_attention_heads": 2}
    vit = ViTForImageClassification(
        ViTConfig(**shape, num_hidden_layers=1, image_size=32, patch_size=8, num_labels=3)
    ).eval()
    steps = PixelPreprocess((32, 32), None, "bilinear", (0.5,) * 3, (0.5,) * 3)
    pixels = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    pixels.requires_grad_(True)
    for one in (classifier, TransformersClassifier(vit, steps, CLASSES, "0")):
        weight, bias = (torch.from_numpy(array) for array in one.head)
        features = one.penultimate(pixels)
        assert features.shape == (4, 16)
        torch.testing.assert_close(features @ weight.T + bias, one.logits(pixels))
        # one feature: a LayerNorm keeps the sum of all of them where it is
        assert torch.autograd.grad(features[:, 0].sum(), pixels)[0].abs().sum() > 0


def test_a_network_that_ends_in_no_single_linear_layer_has_no_penultimate_features(classifier):
    class TwoHeads(torch.nn.Module):
        """Averages two heads, as DeiT does."""

        def __init__(self):
            super().__init__()
            self.a, self.b = torch.nn.Linear(3, 3), torch.nn.Linear(3, 3)

        def forward(self, pixel_values):
            x = pixel_values.mean((2, 3))
            return type("Output", (), {"logits": (self.a(x) + self.b(x)) / 2})

    steps = PixelPreprocess(None, None, "bilinear", (0.0,) * 3, (1.0,) * 3)
    averaged = TransformersClassifier(TwoHeads(), steps, CLASSES, "0")
    with pytest.raises(InputError, match="TwoHeads: its logits are not the output of one linear"):
        averaged.penultimate(torch.rand(2, 3, 4, 4))
    wider = TransformersClassifier(TwoHeads(), steps, [*CLASSES, "owl"], "0")
    with pytest.raises(InputError, match="it has no penultimate features"):
        _ = wider.head


def test_a_probe_is_its_own_head():
    encoder = ColourEncoder()
    probe = ProbeClassifier(encoder, np.eye(3, 4), np.arange(3), CLASSES)
    pixels = torch.rand(2, 3, 8, 8)
    weight, bias = probe.head
    features = probe.penultimate(pixels)
    assert features.norm(dim=1).tolist() == pytest.approx([1, 1])
    expected = features @ torch.from_numpy(weight).T + torch.from_numpy(bias)
    torch.testing.assert_close(expected, probe.logits(pixels))
