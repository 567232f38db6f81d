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
    link="https://openaccess.thecvf.com/content/CVPR2023/html/"
    "Liu_GEN_Pushing_the_Limits_of_Softmax-Based_Out-of-Distribution_Detection_CVPR_2023_paper.html",
)


SYSTEMS = (System(GEN, fit_logits(scores.gen)),)
