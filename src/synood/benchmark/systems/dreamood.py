"""DreamOOD-style: OOD images generated from text, and a linear head trained on them.

The paper searches prompts between the classes, generates 100,000 images with Stable Diffusion and
trains a network. Here the prompts are the run's negative labels ("Neg Image" of SynOOD's table 4),
the generator is the bundle's in-painter, and a head on frozen features is trained.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from synood import scores
from synood.benchmark.protocol.methods import ENCODER, IMAGES, NAMES, WORDS, Method
from synood.benchmark.protocol.system import Fitted, System
from synood.benchmark.systems._heads import OutlierHead
from synood.benchmark.systems._training import Losses, labelled
from synood.features.extractor import ImageFile
from synood.images.sources import ImageIndex
from synood.pipeline.rundir.workspace import Workspace

if TYPE_CHECKING:
    from synood.benchmark.protocol.fit_inputs import FitInputs

DREAMOOD = Method(
    "dreamood",
    "DreamOOD-style",
    "after Du et al., NeurIPS 2023, arXiv 2309.13415: images of negative labels, a head on them",
    "inductive",
    (ENCODER, NAMES, WORDS, IMAGES, "an in-painting model"),
)


def fit_dreamood(inputs: FitInputs, seed: int) -> Fitted:
    """Generate the images into the run's folder of controls, or find them; train the head."""
    from synood.benchmark.protocol.controls import NEG_IMAGE  # they load torch
    from synood.benchmark.protocol.retune import paint_control, read_pairs, synthesizer_of

    run = inputs.finished_run()
    index = ImageIndex(Path(), inputs.class_names, inputs.train.require_images().records)
    pairs, synthesizer = read_pairs(run, index), partial(synthesizer_of, inputs)
    made = paint_control(NEG_IMAGE, pairs, synthesizer, Workspace(run))
    outliers = inputs.store.images([ImageFile(image.path, image.sha256) for image in made])
    losses = Losses()
    images, _ = labelled(inputs.train)
    head = OutlierHead.fit(images, scores.normalise(outliers), seed, losses)
    return Fitted(head.of_set, {"pictures": len(made), "loss": losses.to_json()}, head.size)


SYSTEMS = (System(DREAMOOD, fit_dreamood, seeded=True),)
