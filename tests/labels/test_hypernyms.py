"""Kinds and proper nouns, from a database of five synsets and from WordNet as shipped."""

from __future__ import annotations

import pytest

from synood.errors import InputError
from synood.labels import hypernyms
from synood.labels.hypernyms import parse, shipped_hypernyms, write_hypernyms

LICENCE = "  1 A licence.  \n"
DATA = """\
00000001 03 n 01 thing 0 000 | what there is
00000002 05 n 02 dog 0 domestic_dog 0 002 @ 00000001 n 0000 ~ 00000003 n 0000 | barks
00000003 05 n 01 Spaniel 0 001 @ 00000002 n 0000 | a dog | with ears
00000004 15 n 02 Spaniel 1 Spain 0 001 @i 00000001 n 0000 | a place
00000005 06 n 01 set 0 001 @ 00000001 n 0000 | things
"""
INDEX = """\
dog n 1 2 @ ~ 1 0 00000002
domestic_dog n 1 2 @ ~ 1 0 00000002
set n 1 1 @ 1 0 00000005
spain n 1 1 @i 1 0 00000004
spaniel n 2 1 @ 2 0 00000004 00000003
thing n 1 0 1 0 00000001
"""


@pytest.fixture
def database(tmp_path):
    (tmp_path / "data.noun").write_text(LICENCE + DATA)
    (tmp_path / "index.noun").write_text(LICENCE + INDEX)
    return tmp_path


def read(out):
    import lzma

    lines = lzma.decompress(out.read_bytes()).decode().splitlines()
    return parse(line for line in lines if not line.startswith("#")), lines


def test_the_database_is_read_with_senses_and_instances(database, tmp_path):
    hypernyms.main([str(database), "--out", str(tmp_path / "out.tsv.xz")])
    found, lines = read(tmp_path / "out.tsv.xz")
    assert lines[0] == "# A licence."
    assert lines[1:] == [
        "*thing\t",
        "*dog|*domestic dog\t0",
        "spaniel\t1",
        "*spaniel|*spain\ti0",
        "*set\t0",
    ]
    assert found.is_proper("Spain")
    assert not found.is_proper("spaniel")  # a dog too
    assert not found.is_proper("unheard of")
    assert found.is_kind_of("domestic_dog", "thing")
    assert found.is_kind_of("dog", "domestic dog [n02084071]")
    assert not found.is_kind_of("spaniel", "dog")  # a place first of all
    assert found.is_kind_of("spain", "spaniel")
    assert not found.is_kind_of("thing", "dog")
    assert not found.is_kind_of("unheard of", "thing")


def test_a_folder_without_a_database_is_named(tmp_path):
    with pytest.raises(InputError, match=r"data\.noun: no such file; give a WordNet database"):
        write_hypernyms(tmp_path, tmp_path / "out.tsv.xz")


def test_wordnet_as_shipped_knows_kinds_of_things():
    shipped = shipped_hypernyms()
    assert len(shipped.parents) == 82_115  # wnstats(7WN)
    for word, name in (
        ("spaniel", "dog"),
        ("sedan", "car"),
        ("lemon", "fruit"),
        ("oak tree", "tree"),
    ):
        assert shipped.is_kind_of(word, name)
        assert not shipped.is_kind_of(name, word)
    assert shipped.is_proper("paris") is False  # also a plant
    for word in ("lake superior", "napoleon bonaparte", "united kingdom"):
        assert shipped.is_proper(word), word
    for word in ("dog", "turkey", "river", "mossy"):
        assert not shipped.is_proper(word), word


def test_every_synset_leads_to_an_entity():
    shipped = shipped_hypernyms()
    (entity,) = shipped.senses["entity"]
    assert all(entity in shipped._above(sense) for sense in range(0, 82_115, 1009))
