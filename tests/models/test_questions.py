"""Answers become one line of names without the class itself, whatever a model writes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synood.errors import InputError
from synood.files import sha256_bytes
from synood.models.describer import names_overlap
from synood.models.questions import QUESTIONS, find_question

QUESTION = QUESTIONS["surroundings-v1"]


def test_a_question_keeps_its_text_under_its_name():
    texts = {name: sha256_bytes(question.text.encode()) for name, question in QUESTIONS.items()}
    assert texts == {
        "surroundings-v1": "e3e42960a89896582dca9843a2fee5f443fea940850cfd7e88b24b80d0b80e87"
    }  # an answer is kept by the text: give another text another name


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("sofa, lamp, wooden floor", "sofa, lamp, wooden floor"),
        ("Sofa, a lamp, The Floor.", "Sofa, lamp, Floor"),
        ("1. sofa\n2. lamp\n3) rug\n", "sofa, lamp, rug"),
        ("- sofa\n* lamp\n• rug", "sofa, lamp, rug"),
        ("Answer: sofa; lamp", "sofa, lamp"),
        ("The picture shows a sofa, a lamp and a rug.", "sofa, lamp, rug"),
        ("In the background there is a sofa.", "sofa"),
        ('"sofa", "lamp"', "sofa, lamp"),
        ("sofa, Sofa, SOFA, lamp", "sofa, lamp"),
        ("dog, a dog bowl, Dogs, hotdog stand", "hotdog stand"),
        ("café table, naïve art", "cafe table, naive art"),
        ("沙发, lamp", "lamp"),
        ("a sofa on which somebody has left an open book, lamp", "lamp"),
        ("a, b, c, d, e, f, g, h", "a, b, c, d, e, f"),
        ("", "plain background"),
        ("...", "plain background"),
        ("the dog", "plain background"),
        ("I'm sorry, but I can't help with that.", "plain background"),
        ("Sorry, no", "plain background"),
        ("As an AI, sofa, lamp", "plain background"),
    ],
)
def test_an_answer_is_cleaned(answer, expected):
    assert QUESTION.read(answer, "dog") == expected


@given(st.text(max_size=400), st.sampled_from(["dog", "red panda", "C++", "(x"]))
def test_any_answer_gives_one_short_line_of_ascii_without_the_class(answer, name):
    text = QUESTION.read(answer, name)
    assert text
    assert text.isascii()
    assert len(text.splitlines()) == 1
    assert len(text) <= QUESTION.characters
    items = text.split(", ")
    assert len(items) <= QUESTION.items
    assert text == QUESTION.fallback or not any(names_overlap(item, name) for item in items)


def test_the_class_is_named_in_the_question_and_an_unknown_question_is_refused():
    assert QUESTION.ask("{} panda").startswith("The main object of this picture is: {} panda.")
    with pytest.raises(InputError, match=r"'surroundings' is unknown; use one of surroundings-v1"):
        find_question("surroundings")
