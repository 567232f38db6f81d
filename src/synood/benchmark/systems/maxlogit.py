"""MaxLogit: the largest logit of a classifier."""

from __future__ import annotations

from synood import scores
from synood.benchmark.protocol.methods import CLASSIFIER, Method
from synood.benchmark.protocol.system import System
from synood.benchmark.systems._logits import fit_logits

MAX_LOGIT = Method(
    "maxlogit",
    "MaxLogit",
    "Hendrycks et al., ICML 2022, arXiv 1911.11132",
    "inductive",
    (CLASSIFIER,),
)


SYSTEMS = (System(MAX_LOGIT, fit_logits(scores.max_logit)),)
