"""GEN: the generalised entropy of the softmax probabilities of a classifier."""

from __future__ import annotations

from synood import scores
from synood.benchmark.protocol.methods import CLASSIFIER, Method
from synood.benchmark.protocol.system import System
from synood.benchmark.systems._logits import fit_logits

GEN = Method(
    "gen",
    "GEN",
    "Liu, Lochman and Zach, CVPR 2023",
    "inductive",
    (CLASSIFIER,),
)


SYSTEMS = (System(GEN, fit_logits(scores.gen)),)
