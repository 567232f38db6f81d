"""The bundle `photo`: loads without a hub, sees photographs, and computes what its text says."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from sklearn.datasets import load_sample_image
from transformers import AutoTokenizer, BertConfig, BertModel

from synood.errors import CheckpointError
from synood.files import sha256_file
from synood.labels.prompts import find_prompt_set
from synood.models.bundles import EMBEDDED, load_bundle
from synood.models.photo import PhotoEncoder
from tools.photo.assemble import HERE, bundle_spec, clipped_mean

pytestmark = pytest.mark.numerical

PHOTO, TEXT = EMBEDDED["photo"], EMBEDDED["mini"] / "encoder" / "text"


@pytest.fixture(scope="module")
def bundle():
    return load_bundle("photo")


@pytest.fixture(scope="module")
def encoder(bundle):
    return bundle.encoder()


@pytest.fixture(scope="module")
def classifier(bundle):
    return bundle.classifier()


def photograph(name: str) -> Image.Image:
    return Image.fromarray(load_sample_image(name))


def pixels_of(image: Image.Image) -> torch.Tensor:
    array = torch.from_numpy(np.asarray(image).copy())
    return array.permute(2, 0, 1)[None].float() / 255


def sentence(text: str) -> torch.Tensor:
    """all-MiniLM-L6-v2 as its authors describe it, from the shipped file: (384,)."""
    state = load_file(TEXT / "model.safetensors")
    rows = "embeddings.word_embeddings.weight"
    words = state.pop(f"{rows}.int8").float() / 127 * state.pop(f"{rows}.scale").float()
    model = BertModel(BertConfig.from_pretrained(TEXT), add_pooling_layer=False).eval()
    model.load_state_dict({**{k: v.float() for k, v in state.items()}, rows: words}, strict=False)
    given = AutoTokenizer.from_pretrained(TEXT)(text, return_tensors="pt")
    with torch.no_grad():
        mean = model(**given).last_hidden_state[0].mean(dim=0)
    return mean / mean.norm()


def test_texts_are_means_of_the_names_rows(encoder):
    """The text side, recomputed line by line from the files."""
    text = "a photo of a donkey"
    tensors = load_file(PHOTO / "encoder" / "model.safetensors")
    config = json.loads((PHOTO / "encoder" / "config.json").read_text())
    anchors, others = (
        tensors[f"{name}.int8"].double() / 127 * tensors[f"{name}.scale"].double()
        for name in ("anchors", "rows")
    )
    weight = tensors["classifier.weight"].double()
    own = weight - weight.mean(dim=0)
    rows = torch.cat([own / own.norm(dim=1, keepdim=True), others @ tensors["basis"].double()])
    cosines = anchors @ sentence(text).double()
    near = torch.exp(config["sharpness"] * cosines) * torch.exp(tensors["log_counts"].double())
    expected = (near / near.sum()) @ rows
    np.testing.assert_allclose(encoder.encode_texts([text])[0], expected.numpy(), atol=1e-4)


def test_shipped_features_are_the_definition(encoder, bundle):
    """A known text is read from the file, near what the text side gives for it."""
    word = next(word for word in bundle.words() if word.pos == "noun")
    text = f"a photo of a {word.text}"
    known = (PHOTO / "known" / "texts.txt").read_text().splitlines()
    steps = load_file(PHOTO / "known" / "rows.safetensors")["rows"][known.index(text)].float()
    basis = load_file(PHOTO / "encoder" / "model.safetensors")["basis"].float()
    expected = steps / steps.norm() @ basis
    both = encoder.encode_texts([text, "a photo of a donkey"])
    np.testing.assert_allclose(both[0], expected.numpy(), atol=1e-5)
    np.testing.assert_array_equal(both[1], encoder.encode_texts(["a photo of a donkey"])[0])
    made = PhotoEncoder.from_pretrained(PHOTO / "encoder", text=TEXT).encode_texts([text])[0]
    kept = made @ basis.numpy().T @ basis.numpy()
    assert kept @ both[0] / np.linalg.norm(kept) / np.linalg.norm(both[0]) > 0.999


def test_every_default_prompt_ships_and_needs_no_text_tower(bundle, monkeypatch):
    encoder = bundle.encoder()
    monkeypatch.setattr(encoder._text, "pooled", None)
    prompts = find_prompt_set(bundle.prompt_set)
    texts = [text for word in bundle.words() for text in prompts.word_prompts(word)]
    assert encoder.encode_texts(texts).shape == (len(texts), encoder.dim)


def test_names_that_imagenet_has_not_are_near_their_kind(encoder):
    """From WordNet and the classifier alone: no image of these was ever shown as such."""
    names = ["donkey", "wolverine", "trout", "oak", "limousine car"]
    kinds = ["horse", "weasel", "fish", "tree", "car"]
    own, theirs = (
        encoder.encode_texts([f"a photo of a {name}" for name in some]) for some in (names, kinds)
    )
    own, theirs = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (own, theirs))
    assert (own @ theirs.T).argmax(axis=1).tolist() == [0, 1, 2, 3, 4]


def test_the_mean_of_clipped_normals_is_that_of_drawn_ones():
    rng = np.random.default_rng(0)
    centre, spread = rng.normal(size=20), rng.uniform(0.2, 4, 20)
    drawn = np.clip(centre + spread * rng.normal(size=(200_000, 20)), 0, 6).mean(axis=0)
    found = clipped_mean(torch.from_numpy(centre), torch.from_numpy(spread))
    np.testing.assert_allclose(found.numpy(), drawn, atol=0.03)


@pytest.mark.parametrize(("name", "label"), [("flower.jpg", "daisy"), ("china.jpg", "palace")])
def test_the_classifier_knows_photographs(classifier, name, label):
    logits = classifier.logits(pixels_of(photograph(name)))
    assert classifier.class_names[int(logits.argmax())] == label


def test_the_classifiers_head_is_the_last_layer(classifier):
    pixels = pixels_of(photograph("china.jpg"))
    weight, bias = classifier.head
    expected = classifier.penultimate(pixels).numpy() @ weight.T + bias
    np.testing.assert_allclose(classifier.logits(pixels).numpy(), expected, atol=1e-4)


def test_photographs_meet_their_names(encoder):
    names = ["flower", "temple", "dog", "car", "moon", "cat", "loaf of bread", "guitar"]
    texts = encoder.encode_texts([f"a photo of a {name}" for name in names])
    images = encoder.encode_images([photograph("flower.jpg"), photograph("china.jpg")])
    cosines = (images / np.linalg.norm(images, axis=1, keepdims=True)) @ (
        texts / np.linalg.norm(texts, axis=1, keepdims=True)
    ).T
    assert [names[row] for row in cosines.argmax(axis=1)] == ["flower", "temple"]


def test_pixels_and_images_agree(encoder):
    image = photograph("flower.jpg")
    one, other = encoder.encode_images([image])[0], encoder.encode_pixels(pixels_of(image))[0]
    np.testing.assert_allclose(one, other.numpy(), atol=0.02)


def test_images_are_seen_as_the_networks_authors_show_them(encoder):
    """The shorter side to 256, bicubic, the middle 224 pixels, (x - 127) / 128."""
    image = photograph("flower.jpg")
    wide = 256 * image.width // image.height
    small = image.resize((wide, 256), Image.Resampling.BICUBIC)
    left = (wide - 224) // 2
    pixels = np.asarray(small.crop((left, 16, left + 224, 240)), np.float32)
    found = encoder.preprocess.apply(image)
    np.testing.assert_allclose(found, (pixels.transpose(2, 0, 1) - 127) / 128, atol=1e-5)


def test_image_features_are_the_networks_less_their_mean(encoder, classifier):
    pixels = pixels_of(photograph("china.jpg"))
    mean = load_file(PHOTO / "encoder" / "model.safetensors")["image_mean"].float()
    expected = classifier.penultimate(pixels) - mean
    np.testing.assert_allclose(encoder.encode_pixels(pixels), expected, atol=1e-5)
    assert mean.norm() > 1


def test_gradient_passes_to_the_pixels(encoder):
    pixels = torch.rand(1, 3, 64, 64, requires_grad=True)
    encoder.encode_pixels(pixels).square().sum().backward()
    assert pixels.grad.abs().sum() > 0


def test_the_mean_over_the_cells_is_the_image(encoder):
    image = photograph("flower.jpg")
    cells = encoder.encode_image_patches([image])
    assert cells.shape == (1, 49, encoder.dim)
    np.testing.assert_allclose(cells.mean(axis=1), encoder.encode_images([image]), atol=1e-4)


def test_an_unknown_schema_is_refused(tmp_path):
    shutil.copytree(PHOTO / "encoder", tmp_path / "encoder")
    file = tmp_path / "encoder" / "config.json"
    file.write_text(file.read_text().replace('"schema": 1', '"schema": 7'))
    with pytest.raises(CheckpointError, match="schema 7 is unknown"):
        PhotoEncoder.from_pretrained(tmp_path / "encoder", text=TEXT)


@pytest.mark.parametrize("change", ["missing", "unknown", "of another shape"])
def test_other_tensors_are_refused_with_their_file(tmp_path, change):
    folder = tmp_path / "encoder"
    shutil.copytree(PHOTO / "encoder", folder)
    state = load_file(folder / "model.safetensors")
    if change == "missing":
        del state["basis"]
    elif change == "unknown":
        state["bias"] = torch.zeros(3)
    else:
        state["basis"] = state["basis"][:5].clone()
    save_file(state, folder / "model.safetensors")
    named = "bias" if change == "unknown" else "basis"
    with pytest.raises(CheckpointError, match=rf"model\.safetensors: (.|\n)*{named}"):
        PhotoEncoder.from_pretrained(folder, text=TEXT)


def test_known_texts_without_their_rows_are_refused(tmp_path):
    shutil.copytree(PHOTO / "known", tmp_path / "known")
    with (tmp_path / "known" / "texts.txt").open("a") as file:
        file.write("a photo of a thing\n")
    encoder = PhotoEncoder.from_pretrained(PHOTO / "encoder", text=TEXT, known=tmp_path / "known")
    with pytest.raises(CheckpointError, match="12000 rows for the 12001 texts"):
        encoder.encode_texts(["a photo of a thing"])


def test_the_bundle_is_what_assembling_describes():
    """Every file is listed and unaltered, and the recipe is that of the tool."""
    assert json.loads((PHOTO / "bundle.json").read_text()) == bundle_spec(PHOTO)
    assert (PHOTO / "vocabulary.txt").read_bytes() == (HERE / "vocabulary.txt").read_bytes()


def test_nothing_of_mini_is_copied():
    digests = [
        {sha256_file(path) for path in EMBEDDED[name].rglob("*") if path.is_file()}
        for name in ("mini", "photo")
    ]
    assert not digests[0] & digests[1]
