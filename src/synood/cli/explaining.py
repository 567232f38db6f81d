"""Why images have their scores, as the text of `synood explain`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from synood.detector.explanation import Match
    from synood.detector.ood_detector import OODDetector, Prediction


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
