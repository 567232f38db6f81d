"""A verdict as a row of JSON values."""

import json
import math
from pathlib import Path

from synood.detector import Prediction
from synood.detector.explanation import Explanation, Match
from synood.detector.rows import EXPLANATION_COLUMNS, prediction_row

WHY = Explanation((Match("panda", 0.5), Match("fox", 0.25)), (Match("receipt", 0.125),), "panda")


def test_an_image_that_cannot_be_read_has_its_reason_and_no_verdict():
    row = prediction_row(Prediction(math.nan, None, "", Path("a.jpg"), "a.jpg: is empty"))
    assert json.loads(json.dumps(row, allow_nan=False)) == {
        "path": "a.jpg",
        "score": None,
        "p_value": None,
        "is_ood": None,
        "label": None,
        "image_evidence": None,
        "error": "a.jpg: is empty",
    }


def test_rows_have_the_same_columns_whether_explained_or_not_read():
    good = prediction_row(Prediction(1.0, True, "panda", why=WHY), name="a", explain=True)
    bad = prediction_row(Prediction(math.nan, None, "", error="no"), name="b", explain=True)
    assert set(bad) - set(good) == {"error"}
    assert set(EXPLANATION_COLUMNS) < set(good)
    assert good["class_2"] == "fox"
    assert good["class_3"] is None
    assert good["image_class"] == "panda"
    assert good["negative_1_cosine"] == 0.125


def test_a_score_has_the_digits_that_give_the_same_float32_back():
    import numpy as np

    for score in np.random.default_rng(0).normal(size=200).astype(np.float32):
        text = json.dumps(prediction_row(Prediction(float(score), None, "a"))["score"])
        assert np.float32(text) == score
        assert len(text) <= 16
