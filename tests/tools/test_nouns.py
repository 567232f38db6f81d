"""WordNet's nouns as tools/photo reads them, on a database of five synsets."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tools.photo.nouns import Nouns, is_common

DATA = """  1 This software and database is being provided to you
00000001 03 n 01 entity 0 000 | that which exists; "an entity"
00000002 05 n 02 animal 0 beast 0 001 @ 00000001 n 0000 | a living organism
00000003 05 n 01 cat 0 002 @ 00000002 n 0000 ~ 00000009 n 0000 | feline mammal
00000004 05 n 02 dog 0 domestic_dog 0 001 @ 00000002 n 0000 | a canine; barks
00000005 06 n 01 dog 1 001 @ 00000001 n 0000 | metal supports for logs
"""
INDEX = """  1 licence
dog n 2 1 @ 2 1 00000004 00000005
cat n 1 1 @ 1 1 00000003
domestic_dog n 1 1 @ 1 0 00000004
"""


@pytest.fixture
def nouns(tmp_path):
    (tmp_path / "data.noun").write_text(DATA)
    (tmp_path / "index.noun").write_text(INDEX)
    return Nouns.read(tmp_path)


def test_words_definitions_hypernyms_and_senses_are_read(nouns):
    dog = nouns.synsets["n00000004"]
    assert dog.words == ("dog", "domestic dog")
    assert (dog.lexname, dog.definition) == ("noun.animal", "a canine")
    assert dog.hypernyms == ("n00000002",)
    assert nouns.synsets["n00000003"].hypernyms == ("n00000002",)
    assert nouns.senses["dog"] == ("n00000004", "n00000005")
    assert nouns.senses["domestic dog"] == ("n00000004",)
    assert nouns.above(["n00000003"]) == ["n00000001", "n00000002"]


def test_kinship_is_lins_similarity(nouns):
    own, animal = -math.log(1 / 5), -math.log(3 / 5)
    found = nouns.kinship(["n00000003", "n00000004", "n00000005"], ["n00000003"])
    np.testing.assert_allclose(found[:, 0], [1, 2 * animal / (2 * own), 0], atol=1e-5)


def test_common_words_are_in_lower_case():
    assert is_common("chow-chow")
    assert is_common("brown bear")
    assert not is_common("Labrador retriever")
