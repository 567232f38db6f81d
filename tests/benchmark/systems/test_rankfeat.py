"""RankFeat on convolutional networks: which stage is changed, and what comes out."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from synood.benchmark.protocol.encoding import EncodedSet, SetImages
from synood.benchmark.systems import find_system
from synood.errors import InputError
from synood.images.sources import ImageRecord
from synood.models.classifier import TransformersClassifier
from synood.models.feature_maps import LastStage
from tiny_classifiers import tiny_classifier

pytestmark = pytest.mark.numerical

CLASSES = ["cat", "dog", "fox"]


@pytest.fixture(scope="module")
def classifiers(tmp_path_factory):
    root = tmp_path_factory.mktemp("networks")
    return {
        family: TransformersClassifier.from_pretrained(
            tiny_classifier(root / family, family, CLASSES)
        )
        for family in ("resnet", "convnext", "vit")
    }


def left_over(maps):
    """Maps without their largest singular value, one image at a time, by NumPy."""
    found = []
    for one in maps.double().numpy():
        rows = one.reshape(len(one), -1)
        u, s, v = np.linalg.svd(rows, full_matrices=False)
        found.append((rows - s[0] * np.outer(u[:, 0], v[0])).reshape(one.shape))
    return torch.from_numpy(np.array(found)).float()


def test_both_stages_of_a_resnet_lose_their_first_rank(classifiers):
    classifier = classifiers["resnet"]
    pixels = torch.rand(3, 3, 240, 260, generator=torch.Generator().manual_seed(0))
    network = classifier.network
    with torch.no_grad():
        maps = network.resnet.embedder(classifier._preprocess(pixels))
        first, last = network.resnet.encoder.stages
        before = first(maps)
        weight, bias = (torch.from_numpy(array) for array in classifier.head)
        ends = left_over(last(before)), last(left_over(before))
        logits = [end.mean((2, 3)) @ weight.T + bias for end in ends]
    found = LastStage.of(classifier).rankfeat(pixels)
    np.testing.assert_allclose(found, (logits[0] + logits[1]).numpy() / 2, rtol=1e-3, atol=1e-3)


def test_the_network_is_left_as_it_was(classifiers):
    classifier = classifiers["resnet"]
    pixels = torch.rand(2, 3, 240, 240, generator=torch.Generator().manual_seed(1))
    before = classifier.logits(pixels)
    LastStage.of(classifier).rankfeat(pixels)
    assert torch.equal(classifier.logits(pixels), before)
    hooks = [(m._forward_hooks, m._forward_pre_hooks) for m in classifier.network.modules()]
    assert not any(one for pair in hooks for one in pair)


def test_the_last_stage_of_a_convnext_is_found(classifiers):
    found = LastStage.of(classifiers["convnext"])
    assert found.module is classifiers["convnext"].network.convnext.encoder.stages[-1]


@pytest.mark.parametrize("network", ["vit", "probe"])
def test_networks_without_maps_are_refused(classifiers, network):
    given = (
        classifiers["vit"] if network == "vit" else SimpleNamespace(logits=lambda pixels: pixels)
    )
    with pytest.raises(InputError, match="has no feature maps between its stages"):
        LastStage.of(given)


def test_images_score_the_same_in_any_company(classifiers, tmp_path):
    records = []
    for number in range(4):
        pixels = np.random.default_rng(number).integers(0, 256, (240, 240, 3), np.uint8)
        path = tmp_path / f"{number}.png"
        Image.fromarray(pixels).save(path)
        records.append(ImageRecord(path.name, path, None))
    images = SetImages(tuple(records), classifiers["resnet"], None)
    encoded = EncodedSet("x", "far", np.zeros((4, 2)), np.zeros((4, 3)), images=images)
    fitted = find_system("rankfeat").fit(SimpleNamespace(classifier=classifiers["resnet"]), 0)
    found = fitted(encoded)
    assert (found.shape, found.dtype) == ((4,), np.float32)
    assert len(set(found.tolist())) == 4
    np.testing.assert_allclose(fitted(encoded.take([2, 0])), found[[2, 0]], rtol=1e-4)
    assert fitted(encoded.take([])).shape == (0,)
