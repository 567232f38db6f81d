"""What a detector is, as plain values: classes, encoder, evidence, negative labels, threshold."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synood.detector.evidence import PARTS
from synood.errors import InputError
from synood.models.bundles import EMBEDDED, load_bundle

if TYPE_CHECKING:
    from collections.abc import Sequence

    from synood.detector.backbone import Backbone
    from synood.detector.evidence import ImageEvidence
    from synood.detector.ood_detector import OODDetector

EXAMPLES = 8  # negative labels that are shown, evenly spaced through the list


def describe(detector: OODDetector) -> dict[str, Any]:
    """Return what a detector is, as JSON values; no model is loaded.

    `encoder.present` is whether the encoder's files are on this machine; their hashes are compared
    when the first image is scored.
    """
    calibration = detector.calibration and detector.calibration.to_json()
    prompts = detector.negative_prompts
    return {
        "recipe": detector.recipe,
        "classes": list(detector.class_names),
        "encoder": {**_encoder(detector.backbone), "features": detector.class_features.shape[1]},
        "has_texts": bool(prompts),
        "evidence": _evidence(detector),
        "weights": None if detector.image_evidence is None else _weights(detector.image_evidence),
        "negative_labels": {
            "count": len(prompts),
            "tuned": len(detector.tuned_rows),
            "prompt_set": detector.prompt_set,
            "examples": evenly_spaced(prompts, EXAMPLES),
        },
        "score": asdict(detector.settings),
        "threshold": detector.threshold,
        "calibration": calibration,
        "notes": list(detector.notes),
    }


def evenly_spaced(items: Sequence[str], count: int) -> list[str]:
    """Return at most `count` of the items, in their order.

    >>> evenly_spaced(["a", "b", "c", "d", "e"], 2)
    ['a', 'c']
    """
    taken = min(count, len(items))
    return [items[i * len(items) // taken] for i in range(taken)]


def _encoder(backbone: Backbone) -> dict[str, Any]:
    present, place = _place(backbone)
    return {
        "bundle": backbone.bundle,
        "from": place,
        "present": present,
        "fingerprint": backbone.fingerprint,
        "preprocess": backbone.preprocess,
    }


def _place(backbone: Backbone) -> tuple[bool, str]:
    """Return whether the encoder's files are on this machine, and where they come from."""
    if backbone.is_absent:
        return False, "the detector was made from features, and scores features alone"
    name = backbone.found or backbone.path or backbone.bundle
    try:
        bundle = load_bundle(name)
    except InputError as error:
        return False, f"{name}: {error}"
    spec = bundle.spec["encoder"]
    if "id" not in spec:
        embedded = bundle.root in EMBEDDED.values() or bundle.root is None
        return True, "this package" if embedded else str(bundle.root)
    if Path(spec["id"]).is_absolute():
        return Path(spec["id"]).is_dir(), spec["id"]
    revision = f", revision {str(spec['revision'])[:12]}" if spec.get("revision") else ""
    return bool(bundle.from_hub("encoder")), f"Hugging Face hub, {spec['id']}{revision}"


def _evidence(detector: OODDetector) -> list[str]:
    """Name the parts that a score is made of."""
    images = detector.image_evidence
    parts = []
    if images is None or images.uses_text:
        parts.append("texts of the classes against those of the negative labels (equation 2)")
    if detector.projection is not None:
        parts.append("a projection of image features, tuned on synthetic near-boundary images")
    if detector.tuned_rows:
        parts.append(f"{len(detector.tuned_rows):,} tuned negative labels")
    if images is not None:
        weights = ", ".join(f"{name} {weight:.2f}" for name, weight in _weights(images).items())
        parts.append(f"what the images of the classes look like; weights: {weights}")
    return parts


def _weights(evidence: ImageEvidence) -> dict[str, float]:
    """Return what each part of the evidence counts, of those that count."""
    weights = zip(PARTS, evidence.weights.tolist(), strict=True)
    return {name: round(weight, 6) for name, weight in weights if weight > 0}
