"""Logits, features or similarities -> one score per image; higher = more in-distribution (ID).

Pure functions. Each returns (N,) float32; half and single precision input is computed in single
precision, everything else in double. Rows are processed in blocks, so temporary memory does not
grow with the number of images.
"""

from synood.scores._features import ClassMeans, Gaussians, Neighbours, VirtualLogit
from synood.scores._logits import energy, gen, max_log_odds, max_logit, msp
from synood.scores._mahalanobis import MahalanobisPlus
from synood.scores._negrefine import negrefine
from synood.scores._odds import share
from synood.scores._openmax import OpenMax
from synood.scores._rows import cosine_similarity, normalise
from synood.scores._shaping import (
    ash_b,
    ash_p,
    ash_s,
    clipped,
    gradnorm,
    linear,
    scale,
    sparse_weight,
)
from synood.scores._similarities import (
    NegLabelScorer,
    eoe,
    gl_mcm,
    group_order,
    mcm,
    neglabel,
    neglabel_log_odds,
)
from synood.scores._templates import (
    DecisionBoundaries,
    GuidedNeighbours,
    PosteriorTemplates,
    StoredPatterns,
)

__all__ = [
    "ClassMeans",
    "DecisionBoundaries",
    "Gaussians",
    "GuidedNeighbours",
    "MahalanobisPlus",
    "NegLabelScorer",
    "Neighbours",
    "OpenMax",
    "PosteriorTemplates",
    "StoredPatterns",
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
    "max_log_odds",
    "max_logit",
    "mcm",
    "msp",
    "neglabel",
    "neglabel_log_odds",
    "negrefine",
    "normalise",
    "scale",
    "share",
    "sparse_weight",
]
