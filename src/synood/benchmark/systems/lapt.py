"""LAPT-style: class names and negative labels tuned on images of both, found or made.

The paper collects or generates images of the names, and learns two vectors before class names and
two before negative labels on mixtures of them. Here the in-distribution images are the training
images, those of negative labels come from the bundle's in-painter, and a context is a vector added
to the names' features.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from synood import scores
from synood.benchmark.protocol.baselines import neglabel_scorer
from synood.benchmark.protocol.methods import ENCODER, IMAGES, NAMES, WORDS, Method
from synood.benchmark.protocol.system import Fitted, System
from synood.benchmark.systems._choosing import Option, best_of
from synood.benchmark.systems._learned import SCHEDULE
from synood.benchmark.systems._mining import mine
from synood.benchmark.systems._training import Losses, labelled
from synood.errors import InputError
from synood.features.extractor import ImageFile
from synood.images.sources import ImageIndex
from synood.pipeline.rundir.workspace import Workspace
from synood.settings import ScoreSettings

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from synood.benchmark.protocol.fit_inputs import FitInputs

    Floats = NDArray[np.float32]

LAPT = Method(
    "lapt",
    "LAPT-style",
    "after Zhang et al., ECCV 2024, arXiv 2407.08966: shifts of names, tuned on images of both",
    "inductive",
    (ENCODER, NAMES, WORDS, IMAGES, "an in-painting model"),
)
MIXING = 1.0  # alpha of the Beta distribution: scripts/ood/lapt/train.sh of OpenOOD-VLM


def fit_lapt(inputs: FitInputs, seed: int) -> Fitted:
    """Generate images of the run's negative labels, or find them; learn the two shifts.

    The score is NegLabel's, ungrouped, with moved names and moved negatives, at NegLabel's choices.
    """
    from synood.benchmark.protocol.controls import NEG_IMAGE  # they load torch
    from synood.benchmark.protocol.retune import paint_control, read_pairs, synthesizer_of

    run = inputs.finished_run()
    index = ImageIndex(Path(), inputs.class_names, inputs.train.require_images().records)
    pairs, synthesizer = read_pairs(run, index), partial(synthesizer_of, inputs)
    made = paint_control(NEG_IMAGE, pairs, synthesizer, Workspace(run))
    outliers = inputs.store.images([ImageFile(image.path, image.sha256) for image in made])
    mined = mine(inputs, inputs.recipe.mining)
    losses = Losses()
    classes, negatives = tuned_names(
        inputs,
        scores.normalise(mined.classes),
        scores.normalise(mined.negatives),
        scores.normalise(outliers),
        seed,
        losses,
    )
    settings = ScoreSettings(temperature=mined.score.temperature, groups=1)
    chosen = {"temperature": settings.temperature, "pictures": len(made), "loss": losses.to_json()}
    option = Option(chosen, neglabel_scorer(classes, negatives, settings))
    return best_of(inputs, [option], negatives.size + 2 * classes.shape[1])


def tuned_names(
    inputs: FitInputs,
    classes: Floats,
    negatives: Floats,
    outliers: Floats,
    seed: int,
    losses: Losses,
) -> tuple[Floats, Floats]:
    """Return unit class features (C, D) and negatives (M, D), moved by a shift each.

    An image of a negative label (K, D) has the nearest of the negatives as its class. Images are
    mixed in pairs, and their targets with them.
    """
    import torch
    import torch.nn.functional as F

    from synood.tuning.loop import minimise

    images, labels = labelled(inputs.train)
    if not len(outliers):
        raise InputError("LAPT: there are no images of negative labels to learn from")
    nearest = len(classes) + (outliers @ negatives.T).argmax(axis=1)
    rows = torch.from_numpy(np.concatenate([images, outliers]))
    targets = torch.from_numpy(np.concatenate([labels, nearest]))
    known, unknown = torch.from_numpy(classes), torch.from_numpy(negatives)
    shifts = torch.zeros(2, classes.shape[1], requires_grad=True)
    rng = np.random.default_rng(seed)
    scale = inputs.encoder.logit_scale

    def moved() -> tuple[torch.Tensor, torch.Tensor]:
        return F.normalize(known + shifts[0]), F.normalize(unknown + shifts[1])

    def loss_of(batch: torch.Tensor) -> torch.Tensor:
        share = float(rng.beta(MIXING, MIXING))
        other = batch[torch.from_numpy(rng.permutation(len(batch)))]
        mixed = F.normalize(share * rows[batch] + (1 - share) * rows[other])
        logits = scale * mixed @ torch.cat(moved()).T
        first: torch.Tensor = F.cross_entropy(logits, targets[batch])
        second: torch.Tensor = F.cross_entropy(logits, targets[other])
        return share * first + (1 - share) * second

    adam = torch.optim.Adam([shifts], lr=SCHEDULE.learning_rate)
    minimise(loss_of, adam, len(rows), SCHEDULE, seed, losses)
    with torch.no_grad():
        names, others = moved()
        return names.numpy(), others.numpy()


SYSTEMS = (System(LAPT, fit_lapt, seeded=True),)
