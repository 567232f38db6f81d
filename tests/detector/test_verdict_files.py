"""Files of verdicts: what `score` writes is read back, anything else is refused by its line."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synood.cli.verdicts import write_verdicts
from synood.detector.prediction import Prediction
from synood.detector.verdict_files import read_verdicts
from synood.errors import InputError

NAMES = ("cat", "größe, 12", 'a "quoted"')
GOOD = '{"score": 1.0, "label": "cat", "is_ood": false}'

floats = st.floats(-1e6, 1e6, width=32)
one_prediction = st.builds(
    Prediction,
    score=floats,
    is_ood=st.sampled_from([True, False, None]),
    label=st.sampled_from(NAMES),
    p_value=st.none() | st.floats(0, 1),
    image_evidence=floats,
)


@given(st.lists(one_prediction, min_size=1, max_size=8), st.sampled_from(["jsonl", "csv"]))
def test_what_score_writes_comes_back_in_its_order(tmp_path_factory, predictions, form):
    unreadable = Prediction(math.nan, None, "", error='a "b", c: is empty')
    path = tmp_path_factory.getbasetemp() / "verdicts"
    with path.open("w", encoding="utf-8", newline="") as file:
        write_verdicts(file, [unreadable, *predictions], form)
    found = read_verdicts(path, NAMES)
    assert found.scores.tolist() == [np.float32(one.score) for one in predictions]
    assert found.image_evidence.tolist() == [np.float32(p.image_evidence) for p in predictions]
    assert [*found.labels] == [one.label for one in predictions]
    assert [*found.is_ood] == [one.is_ood for one in predictions]
    assert found.unreadable == 1


def test_other_columns_may_be_missing_or_more(tmp_path):
    (tmp_path / "a.csv").write_text("score,path,mine\n1.5,a.jpg,x\n-2,b.jpg,y\n")
    found = read_verdicts(tmp_path / "a.csv", NAMES)
    assert found.scores.tolist() == [1.5, -2.0]
    assert found.labels is None
    assert found.image_evidence is None
    assert [*found.is_ood] == [None, None]


def test_a_byte_order_mark_and_windows_line_ends_are_read(tmp_path):
    rows = b'{"score": 1.0}\r\n{"score": 2.0}\r\n'
    (tmp_path / "a").write_bytes(b"\xef\xbb\xbf" + rows)
    (tmp_path / "b").write_bytes(b"\xef\xbb\xbfscore\r\n1.0\r\n2.0\r\n")
    for name in ("a", "b"):
        assert read_verdicts(tmp_path / name, NAMES).scores.tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        (" \n\n", "is empty"),
        (f"{GOOD}\nnonsense\n", "line 2: not a JSON object"),
        (f"{GOOD}\n[1]\n", "line 2: not a JSON object"),
        (f"{GOOD}\n\n{GOOD}\n", "line 2: not a JSON object"),
        (f'{GOOD}\n{{"path": "a"}}\n', "line 2: has no `score`"),
        (f'{GOOD}\n{{"score": "high"}}\n', 'line 2: `score` is "high", not a number'),
        (f'{GOOD}\n{{"score": true}}\n', "line 2: `score` is true, not a number"),
        (f'{GOOD}\n{{"score": [1]}}\n', r"line 2: `score` is \[1\], not a number"),
        (f'{GOOD}\n{{"score": 1e400}}\n', "line 2: `score` is Infinity: not finite"),
        (f'{GOOD}\n{{"score": NaN}}\n', "line 2: "),
        (f'{GOOD}\n{{"score": 1{"0" * 40}}}\n', "line 2: .*too large"),
        (f'{GOOD}\n{{"score": 1, "label": "dog"}}\n', 'line 2: the label "dog" is none of the'),
        (f'{GOOD}\n{{"score": 1, "label": ["cat"]}}\n', "line 2: the label"),
        (f'{GOOD}\n{{"score": 1, "is_ood": "maybe"}}\n', "line 2: `is_ood` must be true"),
        (f'{GOOD}\n{{"score": 1, "is_ood": 1}}\n', "line 2: `is_ood` must be true"),
        (f'{GOOD}\n{{"score": 1, "is_ood": []}}\n', "line 2: `is_ood` must be true"),
        (f'{GOOD}\n{{"score": 1, "image_evidence": "x"}}\n', "line 2: `image_evidence` is"),
        (f'{GOOD}\n{{"score": 1, "image_evidence": 2}}\n', "only 1 of 2 images have"),
        ('{"score": null, "error": "x"}\n', "none of its 1 images has a score"),
        ("score,label\n", "none of its 0 images has a score"),
        ("path,label\na,cat\n", "line 1: has no column `score`"),
        ("hello\n", "line 1: has no column `score`"),
        ("score,label\n1,cat\n2\n", "line 3: has another number of fields"),
        ("score,label\n1,cat,3\n", "line 2: has another number of fields"),
        ("score,label\n1,dog\n", 'line 2: the label "dog"'),
        ('score,label\n1,"cat\n', "not readable as CSV"),
        ("score,label\nnan,cat\n", "line 2: `score` is .*not finite"),
        ('path,score\n"two\nlines",1\nb,x\n', "line 4: `score` is"),
    ],
)
def test_a_bad_row_is_named_by_file_and_line(tmp_path, text, message):
    path = tmp_path / "verdicts"
    path.write_text(text, newline="")
    with pytest.raises(
        InputError, match=rf"verdicts(: |, ).*{message}|verdicts, {message}"
    ) as told:
        read_verdicts(path, NAMES)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("data", [b"\xff\xfe\x00", b"score\n\x80\n", b"\x00" * 40])
def test_bytes_that_are_no_text_are_refused(tmp_path, data):
    (tmp_path / "verdicts").write_bytes(data)
    with pytest.raises(InputError, match="verdicts"):
        read_verdicts(tmp_path / "verdicts", NAMES)


def test_a_file_that_is_not_there_is_named(tmp_path):
    for place in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(InputError, match=str(place)):
            read_verdicts(place, NAMES)


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_whatever_a_file_holds_is_read_or_refused_in_one_line(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "whatever"
    path.write_bytes(data)
    told = ""
    try:
        assert len(read_verdicts(path, NAMES).scores)
    except InputError as error:
        told = str(error)
    assert "whatever" in told or not told


def test_a_row_of_json_with_long_values_is_told_shortly(tmp_path):
    (tmp_path / "a").write_text(json.dumps({"score": "x" * 9999}) + "\n")
    with pytest.raises(InputError) as told:
        read_verdicts(tmp_path / "a", NAMES)
    assert len(str(told.value)) < 300
