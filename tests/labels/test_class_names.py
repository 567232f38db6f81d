"""One class is one name, however it is written; a list that is none of names is warned of."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synood.errors import InputError
from synood.labels.checks import class_name_warnings
from synood.labels.class_names import checked_class_names, class_key, class_name


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("fire_truck", "fire truck"),
        ("Fire  Truck", "fire truck"),
        ("cafe\u0301", "caf\u00e9"),
        ("\u212bngstr\u00f6m", "\u00e5ngstro\u0308m"),
        ("STRASSE", "stra\u00dfe"),
    ],
)
def test_spellings_of_one_name_are_one_class(first, second):
    assert class_key(first) == class_key(second)
    with pytest.raises(InputError, match=r"is listed twice \(numbers 1 and 2\)"):
        checked_class_names([first, second])


@given(st.text())
def test_the_form_of_a_name_is_its_own_form(text):
    once = class_name(text)

    assert class_name(once) == once
    assert class_key(once) == class_key(text)
    assert class_name(unicodedata.normalize("NFD", text)) == class_name(
        unicodedata.normalize("NFC", text)
    )


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "the list is empty"),
        (["cat", " _ "], "number 2 is empty"),
        (["c\0a\0t\0"], "number 1, .* holds a character that is no text"),
        (["cat", "\ud800"], "number 2, .* holds a character that is no text"),
        (["cat", "do\x07g"], "number 2, .* holds a character that is no text"),
        (["cat", "\ufeff\u200b"], "number 2 is empty"),
        (["cat", "\ufeffcat"], "'cat' is listed twice"),
        ("cat", "give a list of names, not the one text 'cat'"),
        (["cat", 3], "number 2 must be a text, not 3"),
        ([None], "number 1 must be a text, not None"),
    ],
)
def test_names_that_are_none_are_refused(names, message):
    with pytest.raises(InputError, match=message):
        checked_class_names(names)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["train", "val"], "'train', 'val': parts of a dataset?"),
        (["id", "id_test", "near"], "'id', 'id_test', 'near': parts of a dataset?"),
        (["Images", "cat"], "class name 'Images': parts of a dataset?"),
        (["0", "1", "2"], '--classes names.json with {"0": "cat", ...}'),
        (["n02769740", "cat"], "WordNet ids,"),
        (["n02769748"], "(n02769748 is 'backpack')"),
        (["n02769748"], '{"n02769748": "backpack", ...}'),
        (["cat, dog, horse"], "several names in one?"),
        (["cat;dog"], "several names in one?"),
        (["1. cat", "2. dog"], "more than names?"),
        (['"cat",', '"dog"'], "more than names?"),
        (["a/1.png 0", "a/2.png 0"], "more than names?"),
        (["0 cat", "1 dog"], "more than names?"),
        (["Train2017", "val2017"], "'Train2017', 'val2017': parts of a dataset?"),
        (["cat", "test set"], "class name 'test set': parts of a dataset?"),
        (["cat", "0.5"], '{"0.5": "cat", ...}'),
        (["class0", "class 1"], '{"class0": "cat", ...}'),
        (["n02769748-backpack", "dog"], "(n02769748 is 'backpack')"),
        (["cat, dog", "horse, cow"], "several names in one?"),
        (["0\tcat", "1\tdog"], "several names in one?"),
        (["class_name", "cat", "dog"], "'class_name': a heading or a comment?"),
        (["# animals", "cat"], "'# animals': a heading or a comment?"),
        (["caf\\xe9", "dog"], "not UTF-8; rename the folder"),
    ],
)
def test_what_is_no_list_of_names_is_warned_of_with_the_fix(names, said):
    (warning,) = class_name_warnings(names)
    assert said in warning


def test_names_of_classes_are_no_warning():
    assert (
        class_name_warnings(["cat", "t-shirt", "boeing 747", "tench, Tinca tinca", "trainer"]) == []
    )
    assert class_name_warnings(["black cat"]) == []
    assert class_name_warnings(["test tube", "sunset", "name tag", "far east", "near beer"]) == []


def test_a_long_list_is_cut_short():
    (warning,) = class_name_warnings([str(number) for number in range(1000)])
    assert "'4' and 995 more" in warning
