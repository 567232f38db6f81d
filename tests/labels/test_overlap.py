"""The overlap of two lists is counted by words, and what WordNet covers of NegLabel's is known."""

from __future__ import annotations

import shutil

import numpy as np

from bundling import tiny_bundle
from synood.cli.app import main
from synood.labels.imagenet import class_names_by_wnid
from synood.labels.lists import label_list, read_labels
from synood.labels.overlap import compare_labels
from synood.labels.wordnet import Word, shipped_words


def test_the_overlap_is_counted_by_hand():
    corpus = [Word(text, "noun", "") for text in ("rope", "lamp", "stone", "bell", "tench")]
    corpus += [Word(text, "adjective", "") for text in ("mossy", "aqueous", "brisk")]
    listed = label_list(
        ["the nice Rope", "This is a stone photo", "This is a [aqueous photo", "kedah", "tench"],
        "theirs",
    )
    mined = [corpus[0], corpus[1], corpus[6]]
    found = compare_labels(mined, listed, corpus, ["Tench [n01440764]", "dog"])
    assert (found.mined, found.listed, found.shared) == (3, 5, 2)
    assert (found.known, found.mended, found.missing) == (3, 1, ("kedah",))
    assert (found.other_pos, found.class_names) == (1, 1)
    assert found.by_chance == 3 * 4 / 8
    text = found.text()
    assert "compared with theirs: 2 of the 3 labels mined are among its 5 (66.7%; 2 would" in text
    assert "of its labels 3 are candidates (60.00%; 1 of them as the other" in text
    assert "1 more once a stray mark is removed, 1 not at all (kedah)" in text


def test_wordnet_as_shipped_holds_all_but_40_of_neglabels_labels():
    corpus, names = shipped_words(), class_names_by_wnid("openai").values()
    found = compare_labels(corpus[:1000], read_labels("neglabel-imagenet"), corpus, names)
    assert found.listed == 10_499
    assert (found.known, found.mended, len(found.missing)) == (10_459, 18, 22)
    assert {"kedah", "lemniscate", "piano accordion"} < set(found.missing)  # WordNet 3.1
    assert found.other_pos == 406  # NegLabel's files came in another order
    assert found.class_names == 37


def test_blind_draws_share_what_chance_says():
    corpus, listed = shipped_words(), read_labels("neglabel-imagenet")
    rng = np.random.default_rng(0)
    draws = [
        compare_labels([corpus[i] for i in rng.permutation(len(corpus))[:4000]], listed, corpus, ())
        for _ in range(3)
    ]
    for found in draws:
        assert abs(found.shared - found.by_chance) < 5 * found.by_chance**0.5


def test_mine_compares_and_its_file_is_read_back(tmp_path, capsys):
    bundle = tiny_bundle(tmp_path / "bundle")
    classes, words, out = (tmp_path / name for name in ("names.txt", "words.txt", "mined.txt"))
    classes.write_text("cat\ndog\n")
    words.write_text("rope\nrain barrel\ncat\nmossy\tadjective\nbrisk\tadjective\ntower\n")
    line = ["mine", "--classes", classes, "--models", bundle, "--words", words, "--out", out]
    line += ["--share", "1", "--compare", "neglabel-imagenet", "--set", "mining.pool=csp"]
    assert main([str(word) for word in line]) == 0
    told = capsys.readouterr().out
    assert "5 negative labels" in told
    assert "compared with neglabel-imagenet: " in told

    mined = out.read_text().splitlines()
    assert len(mined) == 5
    assert "a photo of a rope" in mined
    kept = shutil.copy(out, tmp_path / "first.txt")  # what a command reads is not its output
    line[line.index("--compare") + 1] = kept
    assert main([str(word) for word in line]) == 2  # the file is there already
    assert "exists already" in capsys.readouterr().err
    line.append("--overwrite")
    assert main([str(word) for word in line]) == 0
    assert "5 of the 5 labels mined are among its 5 (100.0%;" in capsys.readouterr().out

    line += ["--set", "mining.prompt_set=csp"]
    assert main([str(word) for word in line]) == 0
    ends = [text.partition("\t") for text in out.read_text().splitlines()]
    assert sorted(end for _, _, end in ends) == ["", "", "", "adjective", "adjective"]
    made = ["zero-shot", "--classes", classes, "--models", bundle, "--negatives", out]
    made += ["--set", "mining.prompt_set=csp", "--out", tmp_path / "detector"]
    assert main([str(word) for word in made]) == 0
    assert "5 negative labels from mined.txt." in capsys.readouterr().out
    kept = (tmp_path / "detector" / "negatives.txt").read_text().splitlines()
    assert kept == [text for text, _, _ in ends]
