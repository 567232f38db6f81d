"""Prompts are the templates of the papers, filled with names as they are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synood.errors import InputError
from synood.labels.prompts import PROMPT_SETS, PromptSet
from synood.labels.wordnet import Word

NOUN = Word("rain barrel", "noun", "noun.artifact")
ADJECTIVE = Word("aqueous", "adjective", "adj.all")


@pytest.mark.parametrize(
    ("name", "of_class", "of_noun", "of_adjective"),
    [
        ("neglabel", "the nice tench", "the nice rain barrel", "This is a aqueous photo"),
        ("released", "a nice tench", "the nice rain barrel", "This is a aqueous photo"),
        ("photo", "a photo of a tench", "a photo of a rain barrel", "a aqueous photo"),
    ],
)
def test_named_sets_write_the_prompts_of_their_source(name, of_class, of_noun, of_adjective):
    prompts = PROMPT_SETS[name]
    assert prompts.name == name
    assert prompts.class_prompts(["tench"]) == [of_class]
    assert prompts.word_prompt(NOUN) == of_noun
    assert prompts.word_prompt(ADJECTIVE) == of_adjective


@given(st.lists(st.text()))
def test_any_name_goes_in_as_it_is_and_in_order(names):
    assert PromptSet("t", "<{}>", "{}", "{}").class_prompts(names) == [f"<{n}>" for n in names]


def test_braces_in_names_are_not_places():
    assert PromptSet("t", "a {}, {0}", "{}", "{}").class_prompts(["{} {x}"]) == ["a {} {x}, {0}"]


@pytest.mark.parametrize("template", ["a photo", "{} and {}", "{0}"])
def test_a_template_needs_exactly_one_place(template):
    with pytest.raises(InputError, match=r"prompt set 'mine', noun: .* exactly one"):
        PromptSet("mine", "{}", template, "{}")
