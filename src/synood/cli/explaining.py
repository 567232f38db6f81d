"""Why images have their scores, as columns of `synood score` and as the text of `explain`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from synood.detector.explanation import Explanation, Match
    from synood.detector.ood_detector import OODDetector, Prediction

NEAREST = 3
COLUMNS = (
    *(f"class_{number}{part}" for number in (1, 2, 3) for part in ("", "_cosine")),
    *(f"negative_{number}{part}" for number in (1, 2, 3) for part in ("", "_cosine")),
    "image_class",
)


def columns_of(why: Explanation | None) -> dict[str, Any]:
    """Return an explanation as flat columns; what is not there is None."""
    values: dict[str, Any] = dict.fromkeys(COLUMNS)
    if why is None:
        return values
    for kind, matches in (("class", why.classes), ("negative", why.negatives)):
        for number, match in enumerate(matches[:NEAREST], start=1):
            values[f"{kind}_{number}"] = match.name
            values[f"{kind}_{number}_cosine"] = match.cosine
    return {**values, "image_class": why.image_class}


def explained_text(prediction: Prediction, path: str, detector: OODDetector) -> str:
    """Return what is said of one image: the verdict first, then what it is nearest to."""
    if prediction.error:
        return f"error: {prediction.error}\n"
    verdict = {True: "OOD", False: "in-distribution", None: "no verdict (no threshold)"}
    p_value = prediction.p_value
    threshold = detector.threshold_of(detector.class_names.index(prediction.label))
    parts = [
        *([] if p_value is None else [f"p-value {p_value:.4f}"]),
        f"score {prediction.score:.2f}",
        *([] if threshold is None else [f"threshold {threshold:.2f}"]),
    ]
    lines = [f"{path}: {verdict[prediction.is_ood]} ({', '.join(parts)})"]
    lines.append(f"  nearest class            {prediction.label}")
    if why := prediction.why:
        if why.classes:
            lines.append(f"  nearest class names      {_listed(why.classes)}")
        if why.negatives:
            lines.append(f"  nearest negative labels  {_listed(why.negatives)}")
        if why.image_class is not None:
            lines.append(f"  nearest class by images  {why.image_class}")
    return "".join(f"{line}\n" for line in lines)


def _listed(matches: Sequence[Match]) -> str:
    return ", ".join(f"{match.name!r} {match.cosine:.3f}" for match in matches)
