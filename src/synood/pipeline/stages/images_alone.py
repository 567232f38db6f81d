"""Images alone: a detector of an encoder that reads no texts, by what the images look like."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from synood.detector.backbone import Backbone
from synood.detector.from_features import detector_of_images
from synood.errors import InputError
from synood.files import fingerprint, write_json
from synood.models.families import no_texts
from synood.pipeline.stages.calibrate import calibrate, with_kept_threshold
from synood.pipeline.stages.evidence import evidence_images, tell_weights
from synood.pipeline.stages.tune import finished_detector

if TYPE_CHECKING:
    from synood.detector import OODDetector
    from synood.models.loaded import Models
    from synood.pipeline.stages.context import RunContext
    from synood.pipeline.stages.embed import Selection
    from synood.settings import Recipe


def for_images_alone(
    recipe: Recipe, models: Models, *, has_negatives: bool = False
) -> tuple[Recipe, str | None]:
    """Return the recipe that an encoder of images alone can follow, and a sentence about it.

    A recipe whose score is the text's alone and negative labels that are given are an `InputError`.
    """
    if models.bundle.reads_texts:
        return recipe, None
    name = models.encoder_name
    if has_negatives:
        raise InputError(f"negatives: {no_texts(name)}")
    if not recipe.evidence.from_images:
        raise InputError(
            f"recipe {recipe.name!r}: scores by texts, and encoder {name!r} reads none; take "
            "`plus`, or give evidence.distance, neighbour or head a weight"
        )
    possible = replace(
        recipe,
        synthesis=replace(recipe.synthesis, method="none"),
        projection=replace(recipe.projection, views=0),
        evidence=replace(recipe.evidence, text=0.0),
    )
    return possible, (
        f"encoder {name!r} reads no texts: the score is what the images of the classes look like, "
        "and nothing is mined, synthesized or tuned"
    )


def images_alone(run: RunContext, selection: Selection) -> OODDetector:
    """Fit image evidence, calibrate and save; or read back the detector that is there already."""
    images = evidence_images(run.recipe, selection, run.targets)
    assert images is not None, "for_images_alone has seen that the recipe has image evidence"
    inputs = fingerprint(
        "images alone",
        images.fingerprint(),
        run.models.part_fingerprint("encoder"),
        run.class_names,
        asdict(run.recipe),
        run.seed,
    )
    detector = finished_detector(run, inputs)
    if detector is None:
        models = run.models
        detector, scores = detector_of_images(
            Backbone.of(models.bundle, models.encoder, models.device),
            run.class_names,
            images.features,
            images.targets,
            run.recipe.evidence,
            run.recipe.score,
            recipe=run.recipe.name,
            note=f"Made of {len(images.features):,} images; its encoder reads no texts.",
        )
        tell_weights(detector, run.workspace)
        detector = calibrate(detector, scores, run.recipe, run.workspace, seen=False)
        detector = with_kept_threshold(run, detector, images.features)
        detector.save_pretrained(run.root / "detector")
        write_json(run.root / "tune.json", {"inputs": inputs, "tuned_negatives": 0})
    return detector
