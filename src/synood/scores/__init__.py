"""From logits, features or similarities to one score per image; higher = more in-distribution (ID).

Pure functions of their arguments. Each returns (N,) float32; half and single precision input is
computed in single precision, everything else in double. Rows are worked off in blocks, so that
temporary memory does not grow with the number of images.
"""

from synood.scores._fitted import ClassMeans, Gaussians, Neighbours, VirtualLogit
from synood.scores._logits import energy, gen, max_logit, msp
from synood.scores._names import NegLabelScorer, eoe, gl_mcm, group_order, mcm, neglabel
from synood.scores._rows import cosine_similarity, normalise
from synood.scores._shaping import ash_b, ash_p, ash_s, clipped, gradnorm, linear, sparse_weight

__all__ = [
    "ClassMeans",
    "Gaussians",
    "NegLabelScorer",
    "Neighbours",
    "VirtualLogit",
    "ash_b",
    "ash_p",
    "ash_s",
    "clipped",
    "cosine_similarity",
    "energy",
    "eoe",
    "gen",
    "gl_mcm",
    "gradnorm",
    "group_order",
    "linear",
    "max_logit",
    "mcm",
    "msp",
    "neglabel",
    "normalise",
    "sparse_weight",
]
