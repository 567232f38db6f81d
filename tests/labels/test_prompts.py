"""Prompts are the templates of the papers, filled with names as they are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from colours import ColourEncoder
from synood.errors import InputError
from synood.labels.prompts import PROMPT_SETS, PromptSet, averaged
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
    assert prompts.class_prompts(["tench"]) == [(of_class,)]
    assert prompts.word_prompts(NOUN) == (of_noun,)
    assert prompts.word_prompts(ADJECTIVE) == (of_adjective,)
    assert prompts.label(ADJECTIVE) == of_adjective


def test_csp_has_eight_prompts_of_a_noun_and_four_of_an_adjective():
    prompts = PROMPT_SETS["csp"]
    of_noun = prompts.word_prompts(NOUN)
    assert prompts.class_prompts(["rain barrel"]) == [of_noun]
    assert len(set(of_noun)) == 8
    assert {"rain barrel", "the nice rain barrel"} < set(of_noun)
    view = Word("aqueous view", "adjective", "adj.all")
    assert len(set(prompts.word_prompts(view))) == 4
    assert "a close-up photo of aqueous view" in prompts.word_prompts(view)
    assert prompts.label(NOUN) == "rain barrel"
    assert prompts.label(view) == "aqueous view"


def one_of(in_distribution, noun="{}"):
    return PromptSet("mine", (in_distribution,), (noun,), ("{}",))


@given(st.lists(st.text()))
def test_any_name_goes_in_as_it_is_and_in_order(names):
    assert one_of("<{}>").class_prompts(names) == [(f"<{n}>",) for n in names]


def test_braces_in_names_are_not_places():
    assert one_of("a {}, {0}").class_prompts(["{} {x}"]) == [("a {} {x}, {0}",)]


@pytest.mark.parametrize("template", ["a photo", "{} and {}", "{0}"])
def test_a_template_needs_exactly_one_place(template):
    with pytest.raises(InputError, match=r"prompt set 'mine', noun: .* exactly one"):
        one_of("{}", template)
    with pytest.raises(InputError, match=r"prompt set 'mine', adjective: needs a template"):
        PromptSet("mine", ("{}",), ("{}",), ())


@given(st.lists(st.lists(st.text("abc", min_size=1), min_size=1, max_size=4), min_size=1))
def test_the_features_of_several_prompts_are_the_mean_of_their_directions(names):
    prompts = [tuple(some) for some in names]
    encoder = ColourEncoder()
    found = averaged(prompts, encoder.encode_texts)
    if all(len(some) == 1 for some in prompts):
        expected = [encoder.encode_texts(some)[0] for some in prompts]
    else:
        expected = []
        for some in prompts:
            rows = [encoder.encode_texts([text])[0] for text in some]
            expected.append(sum(row / np.linalg.norm(row) for row in rows) / len(rows))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-6)
