"""Text features are cached as whole blocks, so that they are the same bytes anew and cached."""

from __future__ import annotations

import numpy as np
import pytest

from colours import ColourEncoder
from synood.errors import CheckpointError
from synood.features import texts as module
from synood.features.texts import TextFeatures

pytestmark = pytest.mark.numerical


class Counting(ColourEncoder):
    def __init__(self) -> None:
        super().__init__()
        self.asked: list[list[str]] = []

    def encode_texts(self, texts, batch_size=256):
        self.asked.append(list(texts))
        return super().encode_texts(texts, batch_size)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SYNOOD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SYNOOD_CACHE_SIZE", "10MB")


PROMPTS = [(f"a {word} thing",) for word in ("red", "green", "blue", "odd", "plain")]


@pytest.mark.usefixtures("cache")
def test_words_are_encoded_once_on_a_machine(monkeypatch):
    monkeypatch.setattr(module, "BLOCK", 2)
    first, second = Counting(), Counting()
    fresh = TextFeatures("encoder", lambda: first).encode(PROMPTS)
    again = TextFeatures("encoder", lambda: second).encode(PROMPTS)
    np.testing.assert_array_equal(again, fresh)
    assert [len(texts) for texts in first.asked] == [2, 2, 1]
    assert not second.asked


@pytest.mark.usefixtures("cache")
def test_another_encoder_or_another_block_is_not_taken():
    first, second = Counting(), Counting()
    TextFeatures("encoder", lambda: first).encode(PROMPTS)
    TextFeatures("other encoder", lambda: second).encode(PROMPTS)
    TextFeatures("encoder", lambda: second).encode(PROMPTS[::-1])
    assert len(second.asked) == 2


@pytest.mark.usefixtures("cache")
def test_features_that_are_not_finite_are_refused_and_not_kept():
    class Broken(ColourEncoder):
        def encode_texts(self, texts, batch_size=256):
            return super().encode_texts(texts, batch_size) * np.nan

    with pytest.raises(CheckpointError, match="not finite for text"):
        TextFeatures("encoder", Broken).encode(PROMPTS)
    whole = TextFeatures("encoder", ColourEncoder).encode(PROMPTS)
    assert np.isfinite(whole).all()
