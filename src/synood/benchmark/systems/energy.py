"""Energy: the log-sum-exp of the logits of a classifier."""

from __future__ import annotations

from synood import scores
from synood.benchmark.protocol.methods import ENERGY
from synood.benchmark.protocol.system import System
from synood.benchmark.systems._logits import fit_logits

SYSTEMS = (System(ENERGY, fit_logits(scores.energy)),)
