"""KL-matching: the divergence from the mean posterior of the nearest class."""

from __future__ import annotations

from typing import TYPE_CHECKING

from synood import scores
from synood.benchmark.protocol.methods import CLASSIFIER, IMAGES, Method
from synood.benchmark.protocol.system import Fitted, System

if TYPE_CHECKING:
    from synood.benchmark.protocol.fit_inputs import FitInputs

KL_MATCHING = Method(
    "kl-matching",
    "KL matching",
    "Hendrycks et al., ICML 2022, arXiv 1911.11132",
    "inductive",
    (CLASSIFIER, IMAGES),
)


def fit_kl_matching(inputs: FitInputs, seed: int) -> Fitted:
    """Average the posteriors of validation images, of training images where there are none."""
    validated = len(inputs.validation) > 0
    images = inputs.validation if validated else inputs.train
    fitted = scores.PosteriorTemplates.fit(images.logits)
    return Fitted(
        lambda encoded: fitted.score(encoded.logits),
        {"images": "validation" if validated else "training"},
        fitted.log_templates.size,
    )


SYSTEMS = (System(KL_MATCHING, fit_kl_matching),)
