"""The text model of the embedded encoders, beside transformers' own classes."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from transformers import AutoTokenizer, BertConfig, BertModel

from synood.errors import CheckpointError
from synood.models._spec import EMBEDDED
from synood.models.sentences import SentenceTower, unpack_rows

pytestmark = pytest.mark.numerical

TEXT = EMBEDDED["mini"] / "encoder" / "text"
TEXTS = ["a photo of a panda", "a photo of the Île-de-France, seen from a balloon", "", "#SKU 4711"]


@pytest.fixture(scope="module")
def tower():
    return SentenceTower(TEXT)


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(TEXT)


@pytest.fixture(scope="module")
def model():
    made = BertModel(BertConfig.from_pretrained(TEXT), add_pooling_layer=False).eval()
    made.load_state_dict(unpack_rows(load_file(TEXT / "model.safetensors")), strict=False)
    return made


@settings(deadline=None)
@given(st.lists(st.text(max_size=30), min_size=1, max_size=4))
def test_texts_are_cut_into_the_same_tokens(tower, tokenizer, texts):
    assert tower.token_rows(texts) == tokenizer(texts)["input_ids"]


@pytest.mark.parametrize("texts", [TEXTS, TEXTS[:1], TEXTS[1:2] * 3])
def test_features_are_the_mean_of_the_same_states(tower, tokenizer, model, texts):
    given = tokenizer(texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        states = model(**given).last_hidden_state.numpy()
    rows = [
        states[number, : int(mask.sum())].mean(axis=0)
        for number, mask in enumerate(given["attention_mask"])
    ]
    expected = np.stack([row / np.linalg.norm(row) for row in rows])
    np.testing.assert_allclose(tower.encode(texts).numpy(), expected, atol=2e-6)


def test_gradients_reach_the_embeddings(tower):
    layer = tower.word_embedding
    layer.weight.requires_grad_(True)
    try:
        tower.pooled(tower.token_rows(TEXTS))[:, 0].sum().backward()
        used = {number for row in tower.token_rows(TEXTS) for number in row}
        assert {*layer.weight.grad.abs().sum(dim=1).nonzero()[:, 0].tolist()} <= used
        assert layer.weight.grad.abs().sum() > 0
    finally:
        layer.weight.requires_grad_(False)
        layer.weight.grad = None


def test_another_activation_and_other_tensors_are_refused(tmp_path):
    config = json.loads((TEXT / "config.json").read_text())
    for name in ("model.safetensors", "tokenizer.json"):
        (tmp_path / name).symlink_to(TEXT / name)
    (tmp_path / "config.json").write_text(json.dumps({**config, "hidden_act": "relu"}))
    with pytest.raises(CheckpointError, match="hidden_act 'relu'"):
        SentenceTower(tmp_path).encode(["a"])
    (tmp_path / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 7}))
    with pytest.raises(CheckpointError, match="not the tensors of this model"):
        SentenceTower(tmp_path).encode(["a"])


def test_names_become_a_detector_without_transformers():
    """Which takes seconds to import: more than all else that there is to do."""
    code = (
        "import sys; from synood import OODDetector; "
        "made = OODDetector.from_classes(['gooseberry fool', 'otter'], negatives=['lamp']); "
        "assert made.class_features.shape == (2, 1280); "
        "sys.exit('transformers' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
