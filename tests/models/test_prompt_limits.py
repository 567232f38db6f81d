"""Texts are shortened to what the text towers take, told without loading them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tiny
from synood.errors import InputError
from synood.models.inpainting import Inpainter
from synood.models.prompt_limits import PromptLimits


def photo_of(text):
    return f"a photo of {text}."


@pytest.fixture(scope="module", params=[False, True], ids=["sd", "sdxl"])
def checkpoint(request, tmp_path_factory):
    return tiny.tiny_inpainting(tmp_path_factory.mktemp("model"), sdxl=request.param)


@pytest.fixture(scope="module")
def limits(checkpoint):
    return PromptLimits.from_pretrained(checkpoint)


def test_it_says_what_the_model_says(checkpoint, limits):
    inpainter = Inpainter.from_pretrained(checkpoint)
    for length in range(60, 90):
        prompt = "x" * length
        if limits.fits(prompt):
            inpainter.check_prompts([prompt])
        else:
            with pytest.raises(InputError, match="shorten it"):
                inpainter.check_prompts([prompt])
    assert limits.fits("x" * 60)
    assert not limits.fits("x" * 89)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cat, tree", "cat, tree"),
        (f"cat, {'q' * 90}", "cat"),
        (f"nice cat {'q' * 90}, tree", "nice cat"),
        ("", ""),
    ],
)
def test_a_text_ends_at_an_item_or_a_word(limits, text, expected):
    assert limits.shortened(text, photo_of) == expected


def test_a_word_that_does_not_fit_is_cut(limits):
    cut = limits.shortened("q" * 90, photo_of)
    assert set(cut) == {"q"}
    assert limits.fits(photo_of(cut))
    assert not limits.fits(photo_of(cut + "q"))


@given(st.text(max_size=200))
def test_whatever_the_text_its_prompt_fits(limits, text):
    cut = limits.shortened(text, photo_of)
    assert limits.fits(photo_of(cut))
    assert cut == text or not limits.fits(photo_of(text))


def test_a_template_without_room_is_refused(limits):
    limits.check_template("a photo of {}.")
    with pytest.raises(InputError, match=r"describe.template: .* takes the 77 tokens"):
        limits.check_template("q" * 74 + "{}")
