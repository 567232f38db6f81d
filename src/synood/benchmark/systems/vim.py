"""ViM: the part of the features outside their principal space, as one more logit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from synood import scores
from synood.benchmark.protocol.methods import CLASSIFIER, IMAGES, Method
from synood.benchmark.protocol.system import Fitted, System

if TYPE_CHECKING:
    from synood.benchmark.protocol.fit_inputs import FitInputs

_NEEDS = (CLASSIFIER, IMAGES)
VIM = Method("vim", "ViM", "Wang et al., CVPR 2022, arXiv 2203.10807", "inductive", _NEEDS)


def fit_vim(inputs: FitInputs, seed: int) -> Fitted:
    """Find the principal space and the scale of the virtual logit on the training images."""
    fitted = scores.VirtualLogit.fit(inputs.train.penultimate, *inputs.classifier.head)
    left, width = fitted.rest.shape[1], fitted.rest.shape[0]
    return Fitted(
        lambda encoded: fitted.score(encoded.penultimate),
        {"principal": width - left, "alpha": fitted.alpha},
        fitted.rest.size + fitted.origin.size + 1,
    )


SYSTEMS = (System(VIM, fit_vim),)
