"""Command lines that do not parse: plain sentences with the nearest known word."""

import pytest


def test_command_lines_that_do_not_parse(refused, detector, images):
    assert "fti" in refused("fti", images)
    assert "--formt" in refused("score", detector, images, "--formt", "csv")
    assert "--out" in refused("fit", images)
    assert "NAME=PATH" in refused("evaluate", detector, "--id", images, "--ood", images)
    assert "--ood NAME=PATH" in refused("evaluate", detector, "--id", images)
    twice = ("--ood", f"a={images}", f"a={images}")
    assert "'a'" in refused("evaluate", detector, "--id", images, *twice)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("calibrate d --id x --trp 0.9", "unknown option --trp; did you mean --tpr?"),
        ("fit a --ot b", "unknown option --ot; did you mean --out?"),
        ("fit a --out b --no-such", "unknown option --no-such; see `synood fit --help`"),
        ("--foo", "unknown option --foo; see `synood --help`"),
        ("fti", "unknown command 'fti'; did you mean fit?"),
        ("benchmark chek", "unknown command 'chek'; did you mean check?"),
        ("benchmark xxxx", "unknown command 'xxxx'; use one of list, check, methods"),
        ("fit a b --out c", "'b': unexpected argument; see `synood fit --help`"),
        ("fit a --out b -", "-: standard input is not read; name a file or a folder"),
        ("score", "DETECTOR: is missing; see `synood score --help`"),
        ("fit a", "--out: is missing; see `synood fit --help`"),
        ("fit a --out", "--out: needs a value; see `synood fit --help`"),
        ("fit a --out b --set", "--set: needs a value; see `synood fit --help`"),
        ("fit a --out b --out c", "--out: given twice"),
        ("fit a --out b --seed x", "--seed: must be a whole number, not 'x'"),
        ("demo --seeds 3.7", "--seeds: must be a whole number, not '3.7'"),
        ("fit a --out b --batch-size big", "must be a whole number, not 'big'; or use 'auto'"),
        ("calibrate d --id x --tpr high", "--tpr: must be a number, not 'high'"),
        ("score a b --fail-on-ood=maybe", "--fail-on-ood: must be true or false, not 'maybe'"),
        (
            "report a --format htm",
            "must be 'html' or 'md' or 'tex' or 'text', not 'htm'; did you mean html?",
        ),
        ("score d -.jpg", "a file whose name begins with a hyphen is written ./-.jpg"),
    ],
)
def test_the_sentence_says_what_is_wrong_and_what_to_do(refused, words, sentence):
    line = refused(*words.split())
    assert line.endswith(sentence) or sentence in line
    assert not {"Unused", "Tokens", "Parameter", "unable to convert"} & set(line.split())


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["score", "d", ""], "empty argument after d; is a variable of the shell unset?"),
        (["score", "d", "x", "--out", ""], "empty argument after --out;"),
        (["score", "d", "x", "--out="], "--out: needs a value, not an empty one"),
        (["", "d"], "empty argument after synood;"),
    ],
)
def test_an_empty_argument_is_not_the_current_folder(refused, words, sentence):
    assert sentence in refused(*words)


@pytest.mark.parametrize("name", ["id", "Average", "in-distribution"])
def test_a_set_has_no_name_that_the_tables_use(refused, detector, images, name):
    words = ("evaluate", detector, "--id", images, "--ood", f"{name}={images}")
    assert f"another meaning for '{name}'; rename it" in refused(*words)
