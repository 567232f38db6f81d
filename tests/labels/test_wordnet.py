"""WordNet files become words by NegLabel's rule; the list that ships is that of WordNet 3.0."""

from __future__ import annotations

import lzma
import os
import subprocess
import sys
from importlib import resources
from pathlib import Path

import pytest

from synood.errors import InputError
from synood.labels import wordnet
from synood.labels.wordnet import Word

# Hand-written in the format of wndb(5WN): licence, then offset, lexicographer file, type, word
# count in hexadecimal, words with their ids, pointers, gloss.
NOUNS = """\
  1 A licence line.
  2
00000010 03 n 01 entity 0 000 | that which is
00000020 05 n 02 turkey 0 Meleagris_gallopavo 0 001 @ 00000010 n 0000 | a bird | with a bar
00000030 13 n 01 Turkey 0 000 | its flesh
00000040 15 n 02 Turkey 0 Republic_of_Turkey 0 000 | a country
00000050 06 n 0a Bull's_Eye 0 b 0 c 0 d 0 e 0 f 0 g 0 h 0 i 0 j 0 000 | ten words
00000060 27 n 01 gold 0 000 | a metal
00000070 18 n 01 T-Man 1 000 | an agent
"""
ADJECTIVES = """\
  1 A licence line.
00000010 00 a 01 galore(ip) 0 000 | in abundance
00000020 00 s 02 out-of-doors(a) 0 outdoor(a) 0 000 | in the open
00000030 01 a 01 gold 0 000 | made of gold
00000040 44 a 01 used_to(p) 0 000 | in the habit
00000050 00 a 01 (a)symmetric 0 000 | a bracket that is no marker
"""


@pytest.fixture
def database(tmp_path):
    (tmp_path / "data.noun").write_text(NOUNS)
    (tmp_path / "data.adj").write_text(ADJECTIVES)
    return tmp_path


def test_first_words_in_lower_case_without_animals_and_food(database):
    assert wordnet.read_wordnet(database) == (
        Word("entity", "noun", "noun.Tops"),
        Word("turkey", "noun", "noun.location"),
        Word("bull's eye", "noun", "noun.artifact"),
        Word("gold", "noun", "noun.substance"),
        Word("t-man", "noun", "noun.person"),
        Word("galore", "adjective", "adj.all"),
        Word("out-of-doors", "adjective", "adj.all"),
        Word("used to", "adjective", "adj.ppl"),
        Word("(a)symmetric", "adjective", "adj.all"),
    )


def test_what_is_left_out_is_a_choice(database):
    everything = wordnet.read_wordnet(database, exclude=())
    assert Word("turkey", "noun", "noun.animal") in everything
    assert len({word.text for word in everything}) == len(everything)
    without = wordnet.read_wordnet(database, exclude=["noun.substance", "adj.all"])
    assert Word("gold", "adjective", "adj.pert") in without
    assert not any(word.lexname == "adj.all" for word in without)
    with pytest.raises(InputError, match=r"exclude: 'noun.animals' is not a lexicographer file"):
        wordnet.read_wordnet(database, exclude=["noun.animals"])


def test_the_list_read_back_equals_the_database(database, monkeypatch, tmp_path):
    wordnet.main([str(database), "--out", str(tmp_path / "words.tsv.xz")])
    text = lzma.decompress((tmp_path / "words.tsv.xz").read_bytes()).decode()
    assert text.startswith("# A licence line.\n#\nentity\tnoun.Tops\n")

    monkeypatch.setattr(wordnet.resources, "files", lambda _: tmp_path)
    monkeypatch.setattr(wordnet, "SHIPPED", "words.tsv.xz")
    for exclude in [(), wordnet.EXCLUDED, ("noun.substance", "adj.ppl")]:
        assert wordnet.shipped_words(exclude) == wordnet.read_wordnet(database, exclude)


def test_the_same_database_gives_the_same_bytes(database, tmp_path):
    for name in ("a", "b"):
        wordnet.write_word_list(database, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_shipped_words_are_those_of_neglabels_corpus():
    words, whole = wordnet.shipped_words(), wordnet.shipped_words(exclude=())
    assert len(words) == 70_794
    assert sum(word.pos == "noun" for word in words) == 58_514
    assert words[0] == Word("entity", "noun", "noun.Tops")
    assert Word("rain barrel", "noun", "noun.artifact") in words
    assert Word("grass-covered", "adjective", "adj.all") in words

    texts = {word.text for word in words}
    assert len(texts) == len(words)
    assert all(text == text.lower().strip() and "_" not in text for text in texts)
    assert {"tabby", "otterhound", "bratwurst"} <= {word.text for word in whole} - texts

    lexnames = {word.lexname for word in whole}
    assert lexnames == set(wordnet.LEXNAMES.values())
    assert lexnames - {word.lexname for word in words} == set(wordnet.EXCLUDED)


def test_the_licence_ships_at_the_head_of_the_list_and_beside_it():
    home = resources.files("synood.labels")
    beside = home.joinpath("wordnet-3.0-LICENSE.txt").read_text()
    listed = lzma.decompress(home.joinpath(wordnet.SHIPPED).read_bytes()).decode()
    head = "".join(f"# {line}".rstrip() + "\n" for line in beside.splitlines())
    assert listed.startswith(head + "entity\t")
    assert "WordNet 3.0 Copyright 2006 by Princeton University.  All rights reserved." in beside


INSTALLED = Path(os.environ.get("SYNOOD_WORDNET", "/usr/share/wordnet"))


@pytest.mark.skipif(not (INSTALLED / "data.adj").exists(), reason="WordNet 3.0 is not installed")
def test_shipped_words_equal_the_installed_wordnet(tmp_path):
    assert wordnet.shipped_words() == wordnet.read_wordnet(INSTALLED)
    wordnet.write_word_list(INSTALLED, tmp_path / "words")
    made = lzma.decompress((tmp_path / "words").read_bytes())
    packed = resources.files("synood.labels").joinpath(wordnet.SHIPPED).read_bytes()
    assert made == lzma.decompress(packed)


def test_a_missing_file_is_named_with_what_to_give(tmp_path):
    with pytest.raises(InputError, match=r"data\.noun: no such file; give a WordNet database"):
        wordnet.read_wordnet(tmp_path)


@pytest.mark.parametrize(
    "line",
    ["", "entity noun.Tops", "00000010 99 n 01 entity 0 000 | gloss", "00000010 29 v 01 go 0 0 |"],
)
def test_a_line_that_is_no_synset_is_named(database, line):
    with (database / "data.adj").open("a") as file:
        file.write(line + "\n")
    with pytest.raises(InputError, match=r"data\.adj, line 7: not a noun or adjective synset"):
        wordnet.read_wordnet(database)


def test_a_file_that_is_no_text_is_named(database):
    (database / "data.noun").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match=r"data\.noun: byte 2 \(0x00\) is not UTF-16 text"):
        wordnet.read_wordnet(database)


def test_labels_load_without_torch():
    code = (
        "import sys, synood.labels.mining, synood.labels.prompts, synood.labels.wordnet\n"
        "assert not {'torch', 'transformers', 'diffusers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
