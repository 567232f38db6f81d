"""A verdict as one flat row of JSON values: of `synood score`, of the server, of tables."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from synood.detector.explanation import NEAREST

if TYPE_CHECKING:
    from synood.detector.explanation import Explanation
    from synood.detector.prediction import Prediction

COLUMNS = ("score", "p_value", "is_ood", "label", "image_evidence")
EXPLANATION_COLUMNS = (
    *(
        f"{kind}_{number}{part}"
        for kind in ("class", "negative")
        for number in range(1, NEAREST + 1)
        for part in ("", "_cosine")
    ),
    "image_class",
)
CLEANVISION_COLUMNS = ("path", "is_ood_issue", "ood_score")


def prediction_row(
    prediction: Prediction, *, name: str | None = None, explain: bool = False
) -> dict[str, Any]:
    """Return a verdict as JSON values; `error` is there only where the image could not be read.

    The image is called by its "path", or by its "name" where one is given, as an upload is. With
    `explain`, `EXPLANATION_COLUMNS` follow.

    >>> from synood.detector import Prediction
    >>> row = prediction_row(Prediction(1.5, False, "panda", p_value=0.9), name="a.jpg")
    >>> {name: value for name, value in row.items() if value is not None}
    {'name': 'a.jpg', 'score': 1.5, 'p_value': 0.9, 'is_ood': False, 'label': 'panda'}
    """
    row: dict[str, Any] = {"path": path_text(prediction)} if name is None else {"name": name}
    if prediction.error:
        row |= {**dict.fromkeys(COLUMNS), "error": prediction.error}
    else:
        looks = prediction.image_evidence
        values = (
            _number(prediction.score),
            prediction.p_value,
            prediction.is_ood,
            prediction.label,
            None if looks is None else _number(looks),
        )
        row |= dict(zip(COLUMNS, values, strict=True))
    return {**row, **explanation_columns(prediction.why)} if explain else row


def cleanvision_row(prediction: Prediction) -> dict[str, Any]:
    """Return a verdict in the columns that cleanvision and cleanlab name, by path.

    `ood_score` is the share in [0, 1] that the score is the log odds of: low is worse, and no two
    images tie that the score tells apart. Both are None where the image could not be read.

    >>> from synood.detector import Prediction
    >>> cleanvision_row(Prediction(0.0, True, "panda"))
    {'path': '', 'is_ood_issue': True, 'ood_score': 0.5}
    """
    score = None
    if not prediction.error:
        odds = math.exp(min(prediction.score, 700.0))  # of more, a share of 1 in any case
        score = odds / (1.0 + odds)
    values = (path_text(prediction), prediction.is_ood, score)
    return dict(zip(CLEANVISION_COLUMNS, values, strict=True))


def explanation_columns(why: Explanation | None) -> dict[str, Any]:
    """Return an explanation as flat columns; what is not there is None."""
    values: dict[str, Any] = dict.fromkeys(EXPLANATION_COLUMNS)
    if why is None:
        return values
    for kind, matches in (("class", why.classes), ("negative", why.negatives)):
        for number, match in enumerate(matches, start=1):
            values[f"{kind}_{number}"] = match.name
            values[f"{kind}_{number}_cosine"] = match.cosine
    return {**values, "image_class": why.image_class}


def path_text(prediction: Prediction) -> str:
    """Return the path of a prediction's image as text; "" for an image that was opened."""
    from synood.files import readable

    return "" if prediction.path is None else readable(prediction.path)


def _number(value: float) -> float:
    return float(f"{value:.9g}")  # as many digits as a float32 has
