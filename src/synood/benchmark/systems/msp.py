"""MSP: the largest softmax probability of a classifier."""

from __future__ import annotations

from synood import scores
from synood.benchmark.protocol.methods import MSP
from synood.benchmark.protocol.system import System
from synood.benchmark.systems._logits import fit_logits

SYSTEMS = (System(MSP, fit_logits(scores.msp)),)
