"""Context vectors before a text: the embeddings of words give the encoding of these words."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from colours import ColourEncoder
from synood.errors import InputError
from synood.models.bundles import EMBEDDED
from synood.models.clip import ClipEncoder
from synood.models.contexts import context_encoder
from synood.models.dual import DualEncoder
from synood.models.resnet_clip import ResNetClipEncoder
from tiny import tiny_clip
from tiny_resnet_clip import tiny_resnet_clip

NAMES = ["cat", "river lamp", "dog"]


@pytest.fixture(scope="module", params=["clip", "resnet", "dual"])
def encoder(request, tmp_path_factory):
    root = tmp_path_factory.mktemp(request.param)
    if request.param == "clip":
        return ClipEncoder.from_pretrained(tiny_clip(root / "clip"))
    if request.param == "resnet":
        return ResNetClipEncoder.from_pretrained(tiny_resnet_clip(root / "clip"))
    return DualEncoder.from_pretrained(EMBEDDED["mini"] / "encoder")


def test_the_vectors_of_words_stand_for_these_words(encoder):
    vectors = context_encoder(encoder).token_embeddings("a photo of a")
    found = encoder.encode_with_context(NAMES, vectors)
    assert found.dtype == torch.float32
    expected = encoder.encode_texts([f"a photo of a {name}" for name in NAMES])
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-5)


def test_other_vectors_mean_something_else_and_leave_nothing_behind(encoder):
    before = encoder.encode_texts(NAMES)
    vectors = encoder.token_embeddings("a photo of a")
    some = encoder.encode_with_context(NAMES, vectors)
    assert not np.allclose(encoder.encode_with_context(NAMES, -vectors), some, atol=1e-2)
    np.testing.assert_array_equal(encoder.encode_texts(NAMES), before)


def test_gradients_reach_the_vectors_and_point_uphill(encoder):
    vectors = encoder.token_embeddings("a photo of a").requires_grad_()
    aim = torch.nn.functional.normalize(torch.ones(encoder.dim), dim=0)

    def value(contexts):
        return (
            torch.nn.functional.normalize(encoder.encode_with_context(NAMES, contexts)) @ aim
        ).sum()

    here = value(vectors)
    here.backward()
    assert vectors.grad.abs().sum() > 0
    step = 1e-3 * vectors.grad / vectors.grad.norm()
    climbed = value((vectors + step).detach()) - here.detach()
    assert float(climbed) == pytest.approx(float(vectors.grad.norm()) * 1e-3, rel=0.05)


def test_gradients_reach_the_vectors_of_an_encoder_that_has_encoded_texts():
    """The text tower is loaded by its first use, which then was without gradients."""
    encoder = DualEncoder.from_pretrained(EMBEDDED["mini"] / "encoder")
    encoder.encode_texts(["cat"])
    vectors = encoder.token_embeddings("a photo of a").requires_grad_()
    encoder.encode_with_context(NAMES, vectors).sum().backward()
    assert vectors.grad.abs().sum() > 0


def test_a_text_with_no_room_left_is_refused(encoder):
    vectors = encoder.token_embeddings("a photo of a")
    with pytest.raises(InputError, match="learned vectors, and the text tower"):
        encoder.encode_with_context(["cat"], vectors[:1].expand(600, -1))


def test_an_encoder_without_such_a_tower_is_refused_by_name():
    with pytest.raises(
        InputError, match="encoder 'colours': its text tower takes no context vectors"
    ):
        context_encoder(ColourEncoder())
