"""The card of a saved detector: what it is, how it was made, how to use it, what it cannot do.

Its front matter is what the Hugging Face hub reads; `synood push` publishes it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from synood.detector.evidence import PARTS

if TYPE_CHECKING:
    from synood.detector.ood_detector import OODDetector

_SHARE = ", and its sigmoid (`synood.scores.share`) is the share of equation 2"
# by whether there is no encoder
_PREDICT = ('predict(["photo.jpg"])', "predict_features(features)")
_WHAT = ("photo.jpg", "--features FILE.safetensors")
_NEEDS = (
    "the very encoder named above; another one is refused",
    "features of the very model and preprocessing that its own were made with",
)
# by whether there are texts
_KNOWS = (
    "It knows the classes by the images that it was made from: what these do not show of a class\n"
    "  is foreign to it.",
    "It knows the classes by their names: a name that the encoder does not know, or that means "
    "two\n  things, is scored badly.",
)
_DEPENDS = ("the classes and on their images", "the classes and on the negative labels")
_SHOWN = 40  # class names printed before "and ... more"
_HERE, _BUNDLE = "path/to/this/directory", "path/to/its/bundle"
_TAGS = ("out-of-distribution-detection", "ood-detection", "open-set-recognition")

_CARD = """\
---
{front}
---

# Out-of-distribution detector for {classes} classes

Says for an image whether it shows one of the classes below. The score is a log odds: higher means
more in-distribution{meaning}.

## Classes

{names}

## How it was made

- Recipe `{recipe}` of synood {version}.
- {encoder}
- {negatives}
- {projection}
{score}{notes}
## Threshold

{threshold}

## How to score

```python
from synood import OODDetector

detector = OODDetector.from_pretrained({call})
for prediction in detector.{predict}:
    print(prediction.path, prediction.score, prediction.is_ood, prediction.label)
```

or `synood score {place} {what}`.
{results}
## Limits

- It needs {needs}.
- {knows}
- An image of something close to a class, or of a class next to something else, may pass.
- The label is the nearest class even where the image is out-of-distribution.
- Scores depend on {depends}: a threshold of another detector does
  not carry over.
"""


def detector_card(
    detector: OODDetector,
    version: str,
    place: str = _HERE,
    license: str | None = None,
    results: str = "",
    needs_models: bool = False,
) -> str:
    """Return the Markdown text of `README.md`; the same detector gives the same text.

    `place` is what loads it, a directory or a hub id; `results` is a section of the text.
    `needs_models` is whether who loads it must have its encoder and say where.
    """
    backbone = detector.backbone
    shown = [f"- {name}" for name in detector.class_names[:_SHOWN]]
    rest = len(detector.class_names) - len(shown)
    if rest:
        shown.append(f"- and {rest} more, all in `config.json`")
    return _CARD.format(
        front=_front_matter(detector, license),
        place=f"{place} --models {_BUNDLE}" if needs_models else place,
        call=f'"{place}", models="{_BUNDLE}"' if needs_models else f'"{place}"',
        results=f"\n{results}" if results else "",
        classes=len(detector.class_names),
        names="\n".join(shown),
        recipe=detector.recipe,
        version=version,
        meaning="" if detector.image_evidence else _SHARE,
        encoder=_encoder(detector),
        negatives=_negatives(detector),
        knows=_KNOWS[bool(detector.negative_prompts)],
        depends=_DEPENDS[bool(detector.negative_prompts)],
        projection=_projection(detector),
        score=_score(detector),
        predict=_PREDICT[backbone.is_absent],
        what=_WHAT[backbone.is_absent],
        needs=_NEEDS[backbone.is_absent],
        notes="".join(f"- {note}\n" for note in detector.notes),
        threshold=_threshold(detector),
    )


def _front_matter(detector: OODDetector, license: str | None) -> str:
    """Return the metadata that the hub reads, as YAML without the lines around it."""
    from huggingface_hub import ModelCardData

    data = ModelCardData(
        library_name="synood",
        pipeline_tag="image-classification",
        base_model=detector.backbone.hub_id,
        license=license,
        tags=[*_TAGS],
        num_classes=len(detector.class_names),
    )
    return str(data.to_yaml()).strip()


def _encoder(detector: OODDetector) -> str:
    backbone = detector.backbone
    if backbone.is_absent:
        return "Features that were computed elsewhere; it has no encoder for images."
    if not detector.negative_prompts:
        return (
            f"Image features of the encoder of bundle `{backbone.published().bundle}` "
            "(fingerprint\n"
            f"  `{backbone.fingerprint}`), which reads no texts."
        )
    return (
        f"Image and text features of the encoder of bundle `{backbone.published().bundle}` "
        "(fingerprint\n"
        f"  `{backbone.fingerprint}`), prompt set `{detector.prompt_set}`."
    )


def _negatives(detector: OODDetector) -> str:
    if not detector.negative_prompts:
        return "No texts, and so no negative labels: it judges by what images look like, alone."
    return (
        f"{len(detector.negative_prompts)} negative labels (`negatives.txt`), "
        f"{len(detector.tuned_rows)} of them with tuned features."
    )


def _score(detector: OODDetector) -> str:
    """Say what the score is made of, a line each."""
    evidence = detector.image_evidence
    text = (
        f"log odds of the fraction of the softmax at temperature {detector.settings.temperature}\n"
        f"  that falls on the classes, {_groups(detector)}"
    )
    if evidence is None:
        return f"- Score: {text}.\n"
    parts = [
        f"{name} {weight:g}"
        for name, weight in zip(PARTS, evidence.weights.tolist(), strict=True)
        if weight > 0
    ]
    lines = (
        f"- Score: {', '.join(parts)}, each standardised by in-distribution images that it\n"
        "  had not seen, added, and brought to log odds: 0 where 95 % of normal in-distribution\n"
        "  scores lie above.\n"
    )
    return f"{lines}- Its text part: {text}.\n" if evidence.uses_text else lines


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
