"""A form of a class name is that class; another word is none."""

from __future__ import annotations

import string
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synood.labels.forms import NameForms, contains_name, joined, same_name
from synood.labels.lists import label_list
from synood.labels.wordnet import Word
from synood.models.describer import names_overlap

SAME = [
    ("CD", "CDs"),
    ("TV", "TV's"),
    ("old TV", "old TVs"),
    ("bus", "busses"),
    ("hot dog", "hot-dog"),
    ("hot dog", "hotdogs"),
    ("hot\u2011dog", "hot\u2013dog"),
    ("t shirt", "T-shirt"),
    ("tshirts", "T-Shirt"),
    ("cherries", "cherry"),
    ("wolves", "wolf"),
    ("knives", "knife"),
    ("gloves", "glove"),
    ("foxes", "fox"),
    ("buses", "bus"),
    ("dresses", "dress"),
    ("churches", "church"),
    ("potatoes", "potato"),
    ("movies", "movie"),
    ("firemen", "fireman"),
    ("women", "woman"),
    ("mice", "mouse"),
    ("wisdom teeth", "wisdom tooth"),
    ("cacti", "cactus"),
    ("oases", "oasis"),
    ("larvae", "larva"),
    ("kiwis", "kiwi"),
    ("lenses", "lens"),
    ("irises", "iris"),
    ("bacteria", "bacterium"),
    ("aquaria", "aquarium"),
    ("brothers-in-law", "brother in law"),
    ("men-of-war", "man-of-war"),
    ("bows and arrows", "bow and arrow"),
    ("bird's nest", "birds' nests"),
    ("bird's nest", "bird nest"),
    ("men's shoe", "man's shoe"),
    ("bull's eye", "bullseye"),
    ("emus", "emu"),
    ("dog's", "dog"),
    ("dogs\u2019", "dog"),
    ("St. Bernard", "saint bernard".replace("saint", "st")),
    ("cre\u0300me br\u00fbl\u00e9e", "Creme Brulee"),
    ("missile [n04008634]", "missiles"),
    ("fire_truck", "fire trucks"),
]
OTHER = [
    ("cat", "cattle"),
    ("bus", "bush"),
    ("glass", "gla"),
    ("princess", "princes"),
    ("hot dog", "dog"),
    ("red panda", "panda"),
    ("omen", "Oman"),
    ("titi", "titus"),
    ("bra", "brae"),
    ("car", "care"),
    ("album", "alba"),
    ("glass house", "glas house"),
    ("hot dogs", "dog"),
    ("cars", "cares"),
    ("C", "C#"),
    ("as", "a"),
    ("\u0939\u093f\u0928", "\u0939\u0940\u0928"),  # other vowels of Devanagari
]


@pytest.mark.parametrize(("first", "second"), SAME)
def test_forms_of_one_name(first, second):
    assert same_name(first, second)
    assert same_name(second, first)


@pytest.mark.parametrize(("first", "second"), OTHER)
def test_other_names(first, second):
    assert not same_name(first, second)
    assert not same_name(second, first)


def test_an_adjective_has_no_plural():
    forms = NameForms(["tights", "T-shirt", "orange"])
    assert not forms.holds(Word("tight", "adjective", ""))
    assert forms.holds(Word("tight", "noun", ""))
    assert forms.holds(Word("Orange", "adjective", ""))


def test_no_form_of_a_class_stays_its_own_negative_label():
    given = label_list(["hot-dog", "cherry", "wolf", "dog", "tshirt", "wolfhound"], "a list")
    left, sentence = given.without(["hot dog", "cherries", "wolves", "T-shirt"])
    assert [word.text for word in left.words] == ["dog", "wolfhound"]
    assert "4 left out as class names" in sentence


@pytest.mark.parametrize(
    ("text", "name", "contained"),
    [
        ("a bowl of cherries", "cherry", True),
        ("hotdog stand", "hot dog", True),
        ("a hot dog stand", "hotdog", True),
        ("white t shirt", "T-shirts", True),
        ("wolf-like shadow", "wolves", True),
        ("the dog's bowl", "dog", True),
        ("(mice)", "mouse", True),
        ("wolfram", "wolf", False),
        ("shirt", "t-shirt", False),
        ("", "cat", False),
    ],
)
def test_a_text_that_names_a_class(text, name, contained):
    assert contains_name(text, name) is contained


def test_surroundings_do_not_name_the_class_in_another_form():
    assert names_overlap("mice", "mouse")
    assert names_overlap("hotdog", "hot dog")
    assert not names_overlap("house", "mouse")


@given(st.text(st.characters(max_codepoint=127), max_size=12))
def test_a_plain_name_is_joined_as_one_with_accents(name):
    """A letter that is none of ASCII's leads to the long way; the name before it is the same."""
    alone, before = joined(f"{name} x"), joined(f"{name} \u03c9")
    assert alone[:-1] == before[:-1]
    kept = {*string.ascii_lowercase, *string.digits, *"#%&*@$+<=>^`|~"}
    assert {*alone} <= kept
    assert all(unicodedata.is_normalized("NFKD", char) for char in alone)
