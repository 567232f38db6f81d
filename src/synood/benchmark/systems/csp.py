"""CSP: NegLabel with a conjugated pool of words and more templates."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from synood.benchmark.protocol.methods import ENCODER, NAMES, WORDS, Method
from synood.benchmark.protocol.system import Fitted, System
from synood.benchmark.systems._mining import fit_mined

if TYPE_CHECKING:
    from synood.benchmark.protocol.fit_inputs import FitInputs

CSP = Method(
    "csp",
    "CSP",
    "Chen et al., NeurIPS 2024, arXiv 2410.08611",
    "inductive",
    (ENCODER, NAMES, WORDS),
)
MAX_SIMILARITY = 0.95  # to any class name: clip-ViT-B16.py:26 of its code


def fit_csp(inputs: FitInputs, seed: int) -> Fitted:
    """Mine from the conjugated pool, prompts averaged over CSP's templates."""
    csp = replace(
        inputs.recipe.mining,
        pool="csp",
        prompt_set="csp",
        max_similarity=MAX_SIMILARITY,
    )
    return fit_mined(inputs, csp)


SYSTEMS = (System(CSP, fit_csp),)
