"""Descriptions: what is in the picture, never the class, from a tagger or from a file."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from colours import COLOURS, ColourEncoder, picture
from synood.errors import InputError
from synood.models.describer import FileDescriber, Tagger, names_overlap

WORDS = tuple(COLOURS)


def halves(left, right):
    """A picture of two colours side by side, the left one on three quarters of it."""
    image = picture(left, 8)
    image.paste(picture(right, 8).crop((0, 0, 2, 8)), (6, 0))
    return image


def test_the_tags_are_the_words_most_like_the_picture_in_order():
    tagger = Tagger(ColourEncoder(), WORDS, tags=1)
    images = [picture("red"), picture("blue")]
    assert tagger.describe(images, ["panda", "panda"]) == ["red", "blue"]
    mixed = Tagger(ColourEncoder(), WORDS, tags=2).describe([halves("red", "green")], ["panda"])
    assert mixed[0].split(", ")[0] == "red"
    assert len(mixed[0].split(", ")) == 2


def test_each_picture_is_described_without_its_own_class_only():
    tagger = Tagger(ColourEncoder(), WORDS, tags=1)
    found = tagger.describe([picture("red")] * 2, ["red", "blue"])
    assert found[0] in {"yellow", "magenta"}
    assert found[1] == "red"


def test_words_alike_in_meaning_are_left_out_by_share_and_not_by_cosine():
    # "bright red" names the same colour as the class "wine in red", though neither holds the other.
    vocabulary = ["bright red", *(f"word {number}" for number in range(99))]
    image = picture("red")
    strict = Tagger(ColourEncoder(), vocabulary, tags=1, exclude=0.01)
    assert strict.describe([image], ["wine in red"]) != ["bright red"]
    lax = Tagger(ColourEncoder(), vocabulary, tags=1, exclude=0)
    assert lax.describe([image], ["wine in red"]) == ["bright red"]
    few = Tagger(ColourEncoder(), WORDS, tags=6, exclude=0.01)
    assert len(few.describe([image], ["panda"])[0].split(", ")) == 6


@pytest.mark.parametrize(
    ("word", "name", "expected"),
    [
        ("panda", "panda", True),
        ("Red Panda", "panda", True),
        ("pandas", "panda", True),
        ("boxes", "box", True),
        ("goldfish", "fish", True),
        ("car", "sports car", True),
        ("ant", "elephant", False),
        ("car", "carpet", False),
        ("bamboo", "panda", False),
        ("c++", "c+", False),
    ],
)
def test_names_overlap(word, name, expected):
    assert names_overlap(word, name) is expected
    assert names_overlap(name, word) is expected


@given(st.lists(st.sampled_from(WORDS), max_size=5), st.sampled_from(WORDS), st.integers(1, 7))
def test_a_description_never_holds_the_class_and_has_as_many_tags_as_there_are(shown, name, tags):
    tagger = Tagger(ColourEncoder(), WORDS, tags=tags)
    found = tagger.describe([picture(colour) for colour in shown], [name] * len(shown))
    assert len(found) == len(shown)
    for text in found:
        words = text.split(", ")
        assert name not in words
        assert len(words) == len(set(words)) == min(tags, len(WORDS) - 1)


def test_order_and_company_of_the_pictures_change_nothing():
    tagger = Tagger(ColourEncoder(), WORDS)
    images = [picture(colour, noise=5) for colour in WORDS]
    names = ["red", "panda", "blue", "panda", "cyan", "panda"]
    together = tagger.describe(images, names)
    backwards = tagger.describe(images[::-1], names[::-1])
    singles = [
        tagger.describe([image], [name])[0] for image, name in zip(images, names, strict=True)
    ]
    assert together == backwards[::-1] == singles


def test_repeated_and_empty_words_count_once_and_not_at_all():
    tagger = Tagger(ColourEncoder(), ["red", " red ", "", "dark  blue"])
    assert tagger.vocabulary == ("red", "dark blue")


def test_the_id_follows_whatever_can_change_a_description():
    ids = {
        Tagger(ColourEncoder(), WORDS).id,
        Tagger(ColourEncoder(), WORDS[1:]).id,
        Tagger(ColourEncoder(), WORDS, tags=3).id,
        Tagger(ColourEncoder(), WORDS, template="{}").id,
        Tagger(ColourEncoder(), WORDS, exclude=0.5).id,
    }
    assert len(ids) == 5
    assert Tagger(ColourEncoder(), WORDS).id in ids


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"vocabulary": [" "]}, "has no words"),
        ({"vocabulary": WORDS, "tags": 0}, "tags >= 1"),
        ({"vocabulary": WORDS, "tags": "2"}, "tags >= 1"),
        ({"vocabulary": WORDS, "template": "a photo"}, "template with {}"),
        ({"vocabulary": WORDS, "exclude": 1.0}, "exclude < 1"),
    ],
)
def test_settings_without_sense_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        Tagger(ColourEncoder(), **arguments)


def test_a_vocabulary_of_class_names_alone_is_refused():
    with pytest.raises(InputError, match="too similar to class 'red'"):
        Tagger(ColourEncoder(), ["red", "dark red"]).describe([picture("red")], ["red"])


def test_images_and_names_must_be_as_many():
    with pytest.raises(InputError, match="2 images but 1 names"):
        Tagger(ColourEncoder(), WORDS).describe([picture("red")] * 2, ["panda"])


def write_lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_texts_from_a_file_are_found_by_id(tmp_path):
    rows = [{"id": "cat/1.jpg", "text": "a sofa "}, {"id": "cat/2.jpg", "text": "grass", "x": 1}]
    describer = FileDescriber(write_lines(tmp_path / "texts.jsonl", rows))
    images = [Image.fromarray(np.zeros((4, 4, 3), np.uint8))] * 2
    ids = ["cat/2.jpg", "cat/1.jpg"]
    assert describer.describe(images, ["cat", "cat"], image_ids=ids) == ["grass", "a sofa"]


def test_the_files_id_follows_its_contents(tmp_path):
    one, same, other = (
        FileDescriber(write_lines(tmp_path / name, [{"id": "a", "text": text}])).id
        for name, text in [("1", "x"), ("2", "x"), ("3", "y")]
    )
    assert one == same != other


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"id": "a"}], "line 1: needs an `id` and a non-empty `text`"),
        ([{"id": "a", "text": " "}], "line 1: needs"),
        ([{"id": "a", "text": "x"}, {"id": 1, "text": "x"}], "line 2: needs"),
        ([{"id": "a", "text": "x"}, {"id": "a", "text": "y"}], "line 2: 'a' is described twice"),
        (["text"], "line 1: not a JSON object"),
    ],
)
def test_a_bad_line_is_named(tmp_path, rows, message):
    with pytest.raises(InputError, match=rf"texts\.jsonl, {message}"):
        FileDescriber(write_lines(tmp_path / "texts.jsonl", rows))


def test_what_a_file_does_not_know_is_named(tmp_path):
    describer = FileDescriber(write_lines(tmp_path / "texts.jsonl", [{"id": "a", "text": "x"}]))
    with pytest.raises(InputError, match=r"texts\.jsonl: no description for 'b'"):
        describer.texts(["a", "b"])
    with pytest.raises(InputError, match="require the images' ids"):
        describer.describe([picture("red")], ["cat"])
    with pytest.raises(InputError, match="no such file"):
        FileDescriber(tmp_path / "absent.jsonl")
