"""The recipe `released`: four kinds of images for the labels, ImageNet's names, list and guide."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from small_run import contents, run
from small_suite import tiny_bundle as bundle_of_parts
from synood import OODDetector
from synood.benchmark.protocol.retune import Retuner, read_pairs
from synood.features.store import FeatureStore
from synood.files import read_jsonl
from synood.images._records import Records
from synood.images.sources import ImageIndex, ImageRecord, folder_per_class
from synood.labels.imagenet import class_names_by_wnid
from synood.labels.lists import read_labels
from synood.models._pixels import TORCHVISION, PixelPreprocess
from synood.models.bundles import load_bundle
from synood.models.classifier import ProbeClassifier, TransformersClassifier
from synood.models.guide import preprocessed
from synood.models.loaded import Models
from synood.models.prompt_limits import PromptLimits
from synood.pipeline.recipe import RECIPES, read_recipe
from synood.pipeline.rundir import shards
from synood.pipeline.rundir.shards import read_synthetic
from synood.pipeline.rundir.workspace import Workspace
from synood.pipeline.stages.label_images import KINDS, fitting, read_label_images
from synood.pipeline.stages.mine import mine_words
from synood.pipeline.stages.released import named_as, not_for_these_classes
from synood.settings import MiningSettings
from synood.tuning.negatives import tune_negatives

pytestmark = pytest.mark.numerical

RELEASED = {"recipe": "released"}
# with one label something must compete with it, or it does not move
LABELS = ("negatives.include_classes=true", "negatives.logit_scale=1")


@pytest.fixture(scope="module", autouse=True)
def small_shards():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "SHARD", 2)
        yield


@pytest.fixture(scope="module")
def first(small_shards, bundle, images, tmp_path_factory):
    """A whole run; nobody may write to it."""
    out = tmp_path_factory.mktemp("runs") / "released"
    run(images, bundle, out, *LABELS, **RELEASED)
    return out


def negatives_of(out: Path):
    return OODDetector.from_pretrained(out / "detector").negative_features


def test_labels_are_tuned_on_four_kinds_and_the_projection_on_one(first, bundle, images, tmp_path):
    kinds = read_label_images(first)
    assert sorted(kinds) == sorted(KINDS)
    guided = {image.id: image for image in read_synthetic(first / "synthesize").values()}
    labels = {row["id"]: row["prompt"] for row in read_jsonl(first / "assign.jsonl")}
    for kind, made in kinds.items():
        assert {image.id for image in made} == guided.keys()
        for image in made:
            assert image.sha256 != guided[image.id].sha256
            text = labels[image.id] if kind == "text" else guided[image.id].prompt
            assert image.prompt == text
            assert len(image.losses) == 1

    only = tmp_path / "guided"
    run(images, bundle, only, *LABELS, "negatives.images=guided", **RELEASED)
    assert not (only / "label-images").exists()
    own, other = (OODDetector.from_pretrained(out / "detector") for out in (first, only))
    assert own.projection is not None
    assert other.projection is not None
    np.testing.assert_array_equal(own.projection.weight, other.projection.weight)

    (used,) = own.tuned_rows  # tiny encoders take all images for one label
    loaded = load_bundle(bundle)
    encoder = loaded.encoder()

    def features(made):
        return encoder.encode_images([Image.open(image.path) for image in made])

    four = [*guided.values(), *(image for kind in KINDS for image in kinds[kind])]
    recipe = read_recipe(first / "run.toml")
    label = encoder.encode_texts([own.negative_prompts[used]])
    classes = own.class_features
    for detector, made in ((own, four), (other, [*guided.values()])):
        settings = replace(recipe.negatives, images="guided")
        zeros = np.zeros(len(made), np.int64)
        tuned = tune_negatives(features(made), zeros, label, settings, 0, classes)[0]
        expected = tuned / np.linalg.norm(tuned)
        np.testing.assert_allclose(detector.negative_features[used], expected, atol=1e-5)
    assert own.negative_features[used].tobytes() != other.negative_features[used].tobytes()


def test_an_interrupted_run_gives_the_same_bytes_and_a_finished_one_paints_nothing(
    first, bundle, images, tmp_path, monkeypatch
):
    from synood.models.inpainting import Inpainter

    out, calls, original = tmp_path / "run", [], Inpainter.denoise

    def dying(self, *rest):
        calls.append(1)
        if len(calls) == 8:  # of the further kinds
            raise KeyboardInterrupt
        return original(self, *rest)

    monkeypatch.setattr(Inpainter, "denoise", dying)
    with pytest.raises(KeyboardInterrupt):
        run(images, bundle, out, *LABELS, **RELEASED)
    assert (out / "label-images").is_dir()
    assert not (out / "tune.json").exists()
    run(images, bundle, out, *LABELS, **RELEASED)
    assert contents(out) == contents(first)
    calls.clear()
    run(images, bundle, out, *LABELS, **RELEASED)
    assert calls == []


def test_tuning_again_gives_the_runs_own_detector(first, bundle, images):
    index = folder_per_class(images)
    loaded = load_bundle(bundle)
    models = Models(loaded, "cpu")
    store = FeatureStore(
        first / "features", models.part_fingerprint("encoder"), lambda: models.encoder
    )
    recipe = read_recipe(first / "run.toml")
    again = Retuner(
        read_pairs(first, index), index.class_names, models, store, recipe, Workspace(first)
    )
    own = list(read_synthetic(first / "synthesize").values())
    by_id = {image.id: image for image in own}
    ordered = [by_id[pair.source.id] for pair in read_pairs(first, index)]
    found = again.detector(ordered, 0)
    np.testing.assert_allclose(found.negative_features, negatives_of(first), atol=1e-6)
    without = replace(recipe, negatives=replace(recipe.negatives, images="guided"))
    guided = Retuner(
        read_pairs(first, index), index.class_names, models, store, without, Workspace(first)
    ).detector(ordered, 0)
    assert guided.negative_features.tobytes() != found.negative_features.tobytes()


def test_an_objective_without_a_gradient_is_told_and_guides_nothing(bundle, images, tmp_path):
    run(images, bundle, tmp_path / "msp", "guidance.objective=msp")
    run(images, bundle, tmp_path / "plain", "guidance.step_size=0", "guidance.rounds=1")
    pixels = [
        {one.id: one.sha256 for one in read_synthetic(tmp_path / name / "synthesize").values()}
        for name in ("msp", "plain")
    ]
    assert pixels[0] == pixels[1]
    told = (tmp_path / "msp" / "events.jsonl").read_text()
    assert told.count("'msp' has no gradient: images are as without guidance") == 1


def test_one_line_says_what_is_not_for_these_classes(first):
    told = [row["message"] for row in read_jsonl(first / "events.jsonl") if "message" in row]
    lines = [text for text in told if "not ImageNet's" in text]
    assert len(lines) == 1
    assert "labels are mined, class names stay as given and the guide sees" in lines[0]
    assert any("whose gradient is zero" in text for text in told)
    made = tomllib.loads((first / "run.toml").read_text())["recipe"]
    assert made["negatives"]["images"] == "four-kinds"


def test_without_a_painter_one_line_says_so_and_the_run_goes_on(images, tmp_path):
    bundle = bundle_of_parts(tmp_path / "bundle", paints=False)
    detector = run(images, bundle, tmp_path / "run", **RELEASED)
    assert len(detector.tuned_rows)
    told = (tmp_path / "run" / "events.jsonl").read_text()
    assert told.count("labels are tuned on one kind of images, not on four") == 1
    assert not (tmp_path / "run" / "label-images").exists()


# ImageNet's names


def index_of(names, lazily):
    records = [ImageRecord(f"{i}.png", Path("/data") / f"{i}.png", n) for i, n in enumerate(names)]
    if lazily:
        coded = [record.id.encode() for record in records]
        return ImageIndex(
            Path("/data"),
            tuple(names),
            Records.of_names(Path("/data"), coded, np.arange(len(names)), tuple(names)),
        )
    return ImageIndex(Path("/data"), tuple(names), tuple(records))


@pytest.mark.parametrize("lazily", [False, True])
@pytest.mark.parametrize("given", ["openai", "ids"])
def test_the_recipe_itself_takes_the_first_synonyms(given, lazily):
    names = class_names_by_wnid("openai")
    index = index_of(list(names) if given == "ids" else list(names.values()), lazily)
    found = named_as(RECIPES["released"], index)
    assert found.class_names == tuple(class_names_by_wnid("synood").values())
    assert [record.label for record in found.records] == list(found.class_names)
    assert [record.path for record in found.records] == [one.path for one in index.records]
    assert named_as(RECIPES["released"], found) is found
    assert named_as(RECIPES["paper"], index) is index
    assert not_for_these_classes(RECIPES["released"], index) is None


def test_other_classes_keep_their_names():
    index = index_of(["cat", "dog"], lazily=False)
    assert named_as(RECIPES["released"], index) is index
    assert not_for_these_classes(RECIPES["paper"], index) is None
    said = not_for_these_classes(RECIPES["released"], index)
    assert said is not None
    assert "not ImageNet's" in said


class Texts:
    """Features that tell how many texts there are."""

    def texts(self, prompts, progress=None):
        return np.eye(3, dtype=np.float32)[np.arange(len(prompts)) % 3]


def test_the_recipe_itself_takes_the_released_labels_for_imagenet_alone():
    names = tuple(class_names_by_wnid("synood").values())
    settings = RECIPES["released"].mining
    words = read_labels("neglabel-imagenet").words
    found = mine_words(Texts(), words[:50], names, settings)
    assert found.words == words
    assert len(found.prompts) == 10_499
    assert found.prompts[0].startswith("the nice ")
    without = mine_words(Texts(), words[:50], names, replace(settings, exclude_class_names=True))
    assert len(without.words) < len(words)
    for other in (settings, MiningSettings(labels="mined")):
        mined = mine_words(Texts(), words[:50], ("cat", "dog"), other)
        assert len(mined.words) < 50


# the guide


def test_the_guide_of_imagenet_sees_images_as_torchvisions_weights_do():
    """Bilinear to 232 pixels on the tensor, 224 cut out, nothing rounded."""
    pixels = torch.rand(2, 3, 256, 256, generator=torch.Generator().manual_seed(0))
    whole = torch.nn.functional.interpolate(pixels, (232, 232), mode="bilinear", antialias=True)
    mean, std = (
        torch.tensor(values).view(1, 3, 1, 1)
        for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    )
    expected = (whole[:, :, 4:228, 4:228] - mean) / std
    torch.testing.assert_close(TORCHVISION(pixels), expected)
    rounded = replace(TORCHVISION, as_pillow=True)(pixels)
    assert 0 < (rounded - expected).abs().max() < 3 / 255 / 0.22
    image = Image.fromarray((pixels[0] * 255).byte().permute(1, 2, 0).numpy())
    small = np.asarray(image.resize((232, 232), Image.Resampling.BILINEAR), np.float32) / 255
    seen = (
        TORCHVISION(torch.from_numpy(np.array(image)).permute(2, 0, 1)[None] / 255) * std
    ) + mean
    np.testing.assert_allclose(seen[0].permute(1, 2, 0), small[4:228, 4:228], atol=1.5 / 255)


class Mean(torch.nn.Module):
    """Logits of a thousand classes from an image's mean."""

    def __init__(self):
        super().__init__()
        self.shift = torch.nn.Parameter(torch.zeros(1000))

    def forward(self, pixel_values):
        class Output:
            logits = pixel_values.mean((1, 2, 3))[:, None] + self.shift + pixel_values.shape[-1]

        return Output()


def test_only_a_network_of_imagenets_classes_is_given_that_preprocessing():
    names = list(class_names_by_wnid("openai").values())
    steps = PixelPreprocess(64, (64, 64), "bilinear", (0.0,) * 3, (1.0,) * 3)
    pixels = torch.rand(1, 3, 80, 80)
    imagenet = TransformersClassifier(Mean(), steps, names, "mark")
    changed = preprocessed(imagenet, "torchvision")
    assert changed.fingerprint != imagenet.fingerprint
    torch.testing.assert_close(
        changed.logits(pixels)[0, 0], TORCHVISION(pixels).mean() + 224, atol=1e-4, rtol=0
    )
    assert imagenet.logits(pixels)[0, 0] < 66  # itself left as it was
    assert preprocessed(imagenet, "own") is imagenet
    others = TransformersClassifier(Mean(), steps, [f"thing {i}" for i in range(1000)], "mark")
    assert preprocessed(others, "torchvision") is others

    class Encoder:
        dim, fingerprint = 4, "0"

    probe = ProbeClassifier(Encoder(), np.zeros((1000, 4)), np.zeros(1000), names)
    assert preprocessed(probe, "torchvision") is probe


# labels as prompts


def test_a_label_too_long_for_the_text_tower_is_cut():
    limits = PromptLimits([(lambda text: len(text.split()) + 2, 6)])
    assert fitting("the nice kiln", limits) == "the nice kiln"
    long = "the nice " + "very long winded name of a thing " * 3
    cut = fitting(long, limits)
    assert long.startswith(cut)
    assert limits.fits(cut)
    assert not limits.fits(long)
    assert fitting(long, None) == long
