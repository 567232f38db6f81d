"""The card of a saved detector: what it is, how it was made, how to use it, what it cannot do."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from synood.detector.ood_detector import OODDetector

_SHOWN = 40  # class names printed before "and ... more"

_CARD = """\
# Out-of-distribution detector for {classes} classes

Says for an image whether it shows one of the classes below. The score is a log odds: higher means
more in-distribution, and its sigmoid (`synood.scores.share`) is the share of equation 2.

## Classes

{names}

## How it was made

- Recipe `{recipe}` of synood {version}.
- Image and text features of the encoder of bundle `{bundle}` (fingerprint `{fingerprint}`),
  prompt set `{prompt_set}`.
- {negatives} negative labels (`negatives.txt`), {tuned} of them with tuned features.
- {projection}
- Score: log odds of the fraction of the softmax at temperature {temperature} that falls on the
  classes, {groups}.
{notes}
## Threshold

{threshold}

## How to score

```python
from synood import OODDetector

detector = OODDetector.from_pretrained("path/to/this/directory")
for prediction in detector.predict(["photo.jpg"]):
    print(prediction.path, prediction.score, prediction.is_ood, prediction.label)
```

or `synood score path/to/this/directory photo.jpg`.

## Limits

- It needs the very encoder named above; another one is refused.
- It knows the classes by their names: a name that the encoder does not know, or that means two
  things, is scored badly.
- An image of something close to a class, or of a class next to something else, may pass.
- The label is the nearest class even where the image is out-of-distribution.
- Scores depend on the classes and on the negative labels: a threshold of another detector does
  not carry over.
"""


def detector_card(detector: OODDetector, version: str) -> str:
    """Return the Markdown text of `README.md`; the same detector gives the same text."""
    shown = [f"- {name}" for name in detector.class_names[:_SHOWN]]
    rest = len(detector.class_names) - len(shown)
    if rest:
        shown.append(f"- and {rest} more, all in `config.json`")
    return _CARD.format(
        classes=len(detector.class_names),
        names="\n".join(shown),
        recipe=detector.recipe,
        version=version,
        bundle=detector.backbone.bundle,
        fingerprint=detector.backbone.fingerprint,
        prompt_set=detector.prompt_set,
        negatives=len(detector.negative_prompts),
        tuned=len(detector.tuned_rows),
        projection=_projection(detector),
        temperature=detector.settings.temperature,
        groups=_groups(detector),
        notes="".join(f"- {note}\n" for note in detector.notes),
        threshold=_threshold(detector),
    )


def _groups(detector: OODDetector) -> str:
    groups = detector.settings.groups
    grouped = 1 < groups <= len(detector.negative_prompts)  # as `scores.group_order` deals them
    return f"mean over {groups} groups of negatives" if grouped else "all negatives together"


def _projection(detector: OODDetector) -> str:
    if detector.projection is None:
        return "Image features as the encoder gives them; nothing was trained on images."
    return "Image features pass a residual projection tuned on synthesized near-boundary images."


def _threshold(detector: OODDetector) -> str:
    if detector.threshold is None:
        return (
            "None yet: `is_ood` is empty. `detector.calibrate(images)` on in-distribution images "
            "that were not used to make the detector sets one."
        )
    text = f"An image is out-of-distribution when its score is below {detector.threshold:.6g}."
    found = detector.calibration
    if found is None:
        return f"{text} It was set by hand."
    if found.groups is not None:
        text = (
            "An image is out-of-distribution when its score is below the threshold of its "
            f"predicted class; {len(found.groups.own)} classes have one of their own, the others "
            "have one together."
        )
    text += (
        f" It was calibrated on {found.images} in-distribution images, of which it keeps "
        f"{found.tpr_reached:.1%} (wanted of new images, on average: {found.tpr_wanted:.1%}; 95 % "
        f"interval for this calibration: {found.tpr_low:.1%} to {found.tpr_high:.1%})."
    )
    if found.scores is not None:
        text += (
            " `p_value` is the part of in-distribution images that score no higher than an image; "
            "small is out-of-distribution."
        )
    return f"{text}\n\nWarning: {found.warning}." if found.warning else text
