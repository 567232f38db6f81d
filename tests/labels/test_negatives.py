"""Negative labels of a whole run: CSP's pool under its prompts, and lists that are given."""

from __future__ import annotations

import tomllib

import numpy as np
import pytest

from bundling import tiny_bundle
from colours import ColourEncoder
from small_run import make_pictures, run
from synood import OODDetector
from synood.errors import InputError
from synood.features.texts import TextFeatures
from synood.labels.mining import class_closeness
from synood.labels.negatives import mined_labels
from synood.labels.pools import candidates
from synood.labels.prompts import PROMPT_SETS
from synood.labels.wordnet import Word
from synood.settings import MiningSettings

CSP = MiningSettings(pool="csp", prompt_set="csp", max_similarity=0.95, share=0.4)
WORDS = [
    *(Word(text, "noun", "") for text in ("rope", "captain", "lamp", "pale blue", "stone", "sky")),
    *(Word(text, "adjective", "") for text in ("mossy", "brisk", "plain", "dark", "wet")),
]


def csp(words, classes, settings=CSP):
    encode = TextFeatures("colours", ColourEncoder).encode
    prompts = PROMPT_SETS["csp"]
    return mined_labels(
        words, classes, prompts, settings, encode, encode(prompts.class_prompts(classes))
    )


def test_csp_mines_its_pool_by_the_mean_of_its_prompts():
    found = csp(WORDS, ["red", "yellow"])
    encoder, prompts = ColourEncoder(), PROMPT_SETS["csp"]

    def mean(word_prompts):
        rows = encoder.encode_texts(word_prompts)
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).mean(axis=0)

    pool = [word for word in candidates(WORDS, "csp") if "captain" not in word.text]
    closeness = class_closeness(
        [mean(prompts.word_prompts(word)) for word in pool],
        [mean(prompts.class_prompts([name])[0]) for name in ("red", "yellow")],
        max_similarity=0.95,
    )
    nouns = [row for row, word in enumerate(pool) if word.pos == "noun"]
    adjectives = [row for row, word in enumerate(pool) if word.pos == "adjective"]
    best = [sorted(rows, key=lambda row: closeness[row])[:2] for rows in (nouns, adjectives)]
    expected = [pool[row].text for row in sorted([*best[0], *best[1]])]
    assert list(found.prompts) == expected
    assert all(len(text.split()) == 2 for text in expected[2:])  # the adjective has its noun


def test_csp_does_not_depend_on_the_order_of_words():
    one, other = csp(WORDS, ["red", "blue"]), csp(WORDS[::-1], ["red", "blue"])
    assert set(one.words) == set(other.words)


def test_mining_that_pushes_everything_out_says_which_field():
    settings = MiningSettings(prompt_set="csp", max_similarity=0.01, share=1.0)
    with pytest.raises(InputError, match=r"mining kept none; .* or raise mining.max_similarity"):
        csp([Word("dark red", "noun", "")], ["red"], settings)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return tiny_bundle(tmp_path_factory.mktemp("bundle"), inpainter=True)


def test_zero_shot_takes_csp_whole_and_saves_what_it_took(bundle, tmp_path):
    made = OODDetector.from_classes(["cat", "dog"], bundle, mining=CSP)
    assert made.prompt_set == "csp"
    assert all("photo" not in prompt for prompt in made.negative_prompts)
    made.save_pretrained(tmp_path / "detector")
    again = OODDetector.from_pretrained(tmp_path / "detector")
    assert again.negative_prompts == made.negative_prompts


def test_the_list_of_neglabel_makes_a_detector(bundle):
    made = OODDetector.from_classes(
        ["rain barrel", "dog"], bundle, "neglabel-imagenet", prompt_set="neglabel"
    )
    assert len(made.negative_prompts) == 10_498
    assert "This is a [aqueous photo" in made.negative_prompts
    assert "1 left out as class names, 18 with a stray" in made.notes[0]
    whole = MiningSettings(exclude_class_names=False)
    made = OODDetector.from_classes(
        ["rain barrel", "dog"], bundle, ["the nice rain barrel", "rope"], mining=whole
    )
    assert made.negative_prompts == ("the nice rain barrel", "the nice rope")


def test_a_run_takes_a_list_instead_of_mining_and_records_it(bundle, tmp_path):
    images = make_pictures(tmp_path / "photos")
    listed = tmp_path / "negatives.txt"
    listed.write_text("a photo of a rope\nlamp\ncat\na mossy photo\na [brisk photo\n")
    told = []
    detector = run(
        images,
        bundle,
        tmp_path / "run",
        negatives=listed,
        progress=lambda stage, _done, _total, message: told.append((stage, message)),
    )
    expected = ("a photo of a rope", "a photo of a lamp", "a mossy photo", "a [brisk photo")
    assert detector.negative_prompts == expected
    said = "4 negative labels from negatives.txt, 1 left out as class names, 1 with a stray"
    assert any(stage == "mine" and message.startswith(said) for stage, message in told)
    recorded = tomllib.loads((tmp_path / "run" / "run.toml").read_text())
    assert recorded["inputs"]["negatives"].startswith("negatives.txt ")
    assert recorded["recipe"]["mining"]["pool"] == "neglabel"

    mined = run(images, bundle, tmp_path / "run")
    assert mined.negative_prompts != detector.negative_prompts
    assert "negatives" not in tomllib.loads((tmp_path / "run" / "run.toml").read_text())["inputs"]
