"""Lists of negative labels: prompts are read as words, and NegLabel's own list is all there."""

from __future__ import annotations

import hashlib
import lzma
from importlib import resources

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synood.errors import InputError
from synood.labels.lists import (
    SHIPPED_LISTS,
    label_line,
    label_list,
    read_label,
    read_labels,
    repaired,
)
from synood.labels.prompts import PROMPT_SETS
from synood.labels.wordnet import Word, shipped_words

NAME = "neglabel-imagenet"


def shipped_text(name=NAME):
    return lzma.decompress(
        resources.files("synood.labels").joinpath(SHIPPED_LISTS[name]).read_bytes()
    )


def blob(data):
    """git's own hash of a file's content."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def test_the_list_that_ships_is_neglabels_file_byte_for_byte():
    # XueJiang16/NegLabel at 3253db6
    assert blob(shipped_text()) == "fd86eb4e8f910d0418bd56df903505749780d142"


def test_negrefines_list_is_its_two_files_with_parts_of_speech():
    lines = shipped_text("negrefine-imagenet").splitlines(keepends=True)
    nouns = [line for line in lines if b"\t" not in line]
    adjectives = [line.replace(b"\tadjective", b"") for line in lines[len(nouns) :]]
    # ah-ansari/NegRefine at 72e4b82, output/imagenet/seed_0/neg_labels_noun.txt and _adj.txt
    assert blob(b"".join(nouns)) == "81bc6a939807d76693620d2f1d6d209539265a02"
    assert blob(b"".join(adjectives)) == "ae59071e1552547599242cca4a5f05a37711c098"
    words = read_labels("negrefine-imagenet").words
    assert [word.pos for word in words] == ["noun"] * 4998 + ["adjective"] * 1372
    assert words[4998] == Word("bacchanalian pattern", "adjective", "")


def test_its_lines_come_out_as_they_were_under_neglabels_prompts():
    labels = read_labels(NAME)
    prompts = PROMPT_SETS["neglabel"]
    lines = shipped_text().decode().splitlines()
    assert [prompts.label(word) for word in labels.words] == lines
    assert len(lines) == 10_499
    assert sum(word.pos == "noun" for word in labels.words) == 8_578


def test_its_stray_marks_are_counted_and_kept():
    damaged = [word.text for word in read_labels(NAME).damaged]
    assert len(damaged) == 18
    assert {"[aqueous", "[cryptogamia", 'k2"'} < set(damaged)
    assert {"aqueous", "cryptogamia", "k2"} < {repaired(text) for text in damaged}


def test_names_of_classes_are_left_out_and_the_sentence_says_all():
    left, sentence = read_labels(NAME).without(["Rain_Barrel", "tench"])
    assert len(left.words) == 10_498
    assert sentence == (
        "10,498 negative labels from neglabel-imagenet, 1 left out as class names, "
        "18 with a stray [ or quotation mark kept as they are."
    )
    assert label_list(["rope"], "a list").without([])[1] == "1 negative labels from a list."
    with pytest.raises(InputError, match="negative labels: none left"):
        label_list(["rope"], "a list").without(["Rope"])


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("rain barrel", Word("rain barrel", "noun", "")),
        (" the nice rope ", Word("rope", "noun", "")),
        ("This is a [aqueous photo", Word("[aqueous", "adjective", "")),
        ("a photo of a rope", Word("rope", "noun", "")),
        ("a mossy photo", Word("mossy", "adjective", "")),
        ("mossy view\tadjective", Word("mossy view", "adjective", "")),
        ("rope\tnoun", Word("rope", "noun", "")),
        ("the nice", Word("the nice", "noun", "")),
        ("This is a photo", Word("This is a photo", "noun", "")),
    ],
)
def test_a_line_is_a_word_a_prompt_or_a_word_with_its_part_of_speech(line, word):
    assert read_label(line) == word


@given(
    st.sampled_from(shipped_words()[58_000:59_000]).map(lambda w: Word(w.text, w.pos, "")),
    st.sampled_from(sorted(PROMPT_SETS)),
)
def test_a_written_line_is_read_as_the_word_it_was(word, name):
    assert read_label(label_line(word, PROMPT_SETS[name].label(word))) == word


def test_a_file_is_read_once_for_each_label(tmp_path):
    path = tmp_path / "words.txt"
    path.write_text("rope\n\nthe nice rope\nThis is a rope photo\n")
    labels = read_labels(path)
    assert [(word.text, word.pos) for word in labels.words] == [
        ("rope", "noun"),
        ("rope", "adjective"),
    ]
    assert labels.source == "words.txt"
    path.write_text("rope\n")
    assert read_labels(path).id != labels.id


def test_an_unreadable_file_is_named_with_what_ships(tmp_path):
    with pytest.raises(InputError, match=r"absent\.txt: no such file.*or neglabel-imagenet"):
        read_labels(tmp_path / "absent.txt")


def test_a_json_list_holds_labels_and_other_json_none(tmp_path):
    path = tmp_path / "negatives.json"
    path.write_text('["rope", "the nice lamp"]')
    assert [word.text for word in read_labels(path).words] == ["rope", "lamp"]
    for text in ('{"rope": 1}', "[1]", '"rope"'):
        path.write_text(text)
        with pytest.raises(InputError, match=r"negatives\.json: needs a JSON list"):
            read_labels(path)


@pytest.mark.parametrize("entry", [3, None, "\ud800", "a\0b", "a\nb"])
def test_what_is_no_word_is_named(entry):
    with pytest.raises(InputError, match=r"negative labels from a list: .* is not a word"):
        label_list(["rope", entry], "a list")
