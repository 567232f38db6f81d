"""A conformal test martingale: whether a stream goes on as it began, asked after every image.

Each value is ranked among the reference and the stream before it. If all of them are exchangeable,
these smoothed p-values are independent and uniform, however small the reference (Vovk et al.,
Algorithmic Learning in a Random World, 2005); p-values against a reference that never grows are
not. Capital that is bet on uniform numbers at fair odds is a martingale (Vovk et al., Testing
Exchangeability On-Line, ICML 2003): by Ville's inequality it ever exceeds 1 / a times its start
with a probability of at most a. So the stream may be looked at after every image, for ever, and the
chance of a false alarm stays a.
"""

from __future__ import annotations

import math
import random
from bisect import bisect_left, bisect_right, insort
from dataclasses import dataclass
from typing import TYPE_CHECKING

from synood.arrays import is_real, to_numpy
from synood.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

KEPT = 10_000  # values to rank among; more are forgotten at random
POWERS = (0.3, 0.6, 0.85)  # of the bets a u^(a - 1); the smaller, the more on the smallest u
PATIENCE = 10.0  # of the capital, log(P) / log(P + t) is not yet bet after t values
SMALLEST = 1e-16  # a p-value of 0 would be paid without bound
LARGEST = 1e100  # from here on the capital is counted in a larger unit


@dataclass(frozen=True)
class StreamState:
    """What a martingale says so far; the first four names are alibi-detect's.

    `distance` is the decimal logarithm of the largest capital so far, which began at 1;
    `p_val` is one over it, at most 1; `threshold` is the level a, the chance that `p_val` ever
    falls to it where nothing changes, and `is_drift` whether it has. `log10_value` is the capital
    now, `images` how many values there were, `alarm_at` at which of them, from 1, the
    alarm was raised.
    """

    is_drift: bool
    p_val: float
    distance: float
    threshold: float
    log10_value: float
    images: int
    alarm_at: int | None


class OnlineRanks:
    """P-values of a stream, each among the values before it: independent, and uniform in (0, 1].

    That holds where the reference (n,) and the stream are exchangeable, for every n, 0 included.
    Ties are broken at random. Of more than `kept` values a random one is forgotten after each new
    one, without regard to what it is and when it came, which leaves the p-values what they are.
    """

    def __init__(self, reference: ArrayLike = (), kept: int = KEPT, seed: int = 0) -> None:
        values = to_numpy(reference, "reference").astype(float).ravel().tolist()
        if not all(map(math.isfinite, values)):
            raise InputError("reference: holds NaN or infinity")
        self._random = random.Random(seed)
        self._kept = kept
        self._values = sorted(self._random.sample(values, min(kept, len(values))))

    def p_value(self, value: float) -> float:
        """Rank a value among those before it, and keep it for those that follow."""
        lower = bisect_left(self._values, value)
        equal = bisect_right(self._values, value) - lower + 1  # itself included
        chance = 1.0 - self._random.random()  # in (0, 1]
        found = (lower + chance * equal) / (len(self._values) + 1)
        insort(self._values, value)
        if len(self._values) > self._kept:
            del self._values[self._random.randrange(len(self._values))]
        return found


class Martingale:
    """Capital bet on p-values: that they are small, large, both or neither, from some time on.

    At each step a part of what is not bet yet is divided among the bets and stays there: so a
    change late in the stream is found too, at the price of about the logarithm of its time. A bet
    pays a u^(a - 1) for a = 0.3, 0.6 and 0.85 on four u: p, 1 - p, the distance of p
    from the middle, and 1 less that. `lower` bets on small p alone: then the capital never grows by
    p-values that are larger than uniform ones.
    """

    def __init__(self, *, lower: bool = False) -> None:
        self._lower = lower
        self._bets = [0.0] * len(POWERS) * (1 if lower else 4)
        self._unit = 0.0  # in which the bets are counted, as a logarithm
        self._steps = 0
        self.log_value = 0.0

    def bet(self, p_value: float) -> float:
        """Take the next p-value; return the logarithm of the capital now."""
        before, self._steps = _unspent(self._steps), self._steps + 1
        left, scale = _unspent(self._steps), math.exp(-self._unit)
        share = scale * (before - left) / len(self._bets)
        paid = [
            power * max(u, SMALLEST) ** (power - 1)
            for u in self._outcomes(p_value)
            for power in POWERS
        ]
        self._bets = [(bet + share) * pay for bet, pay in zip(self._bets, paid, strict=True)]
        total = scale * left + sum(self._bets)
        self.log_value = self._unit + math.log(total)
        if total > LARGEST or (self._unit and total < 1 / LARGEST):
            change = LARGEST if total > 1 else 1 / LARGEST
            self._bets = [bet / change for bet in self._bets]
            self._unit = max(0.0, self._unit + math.log(change))
        return self.log_value

    def _outcomes(self, p_value: float) -> tuple[float, ...]:
        """Return numbers that are uniform where the p-value is."""
        if self._lower:
            return (p_value,)
        off_middle = abs(2 * p_value - 1)
        return (p_value, 1 - p_value, off_middle, 1 - off_middle)


class StreamTest:
    """Whether a stream goes on as a reference (n,), at a level for ever.

    Without a reference it is compared with its own past. `cross_fitted` says that the reference is
    lower than new values by the way it came about (see `Calibration`): then lower ones alone count.

    >>> test = StreamTest([*range(100)], level=0.01)
    >>> for _ in range(30):
    ...     test.add(-1.0)
    >>> test.state.is_drift
    True
    """

    def __init__(
        self,
        reference: ArrayLike = (),
        level: float = 0.01,
        *,
        cross_fitted: bool = False,
        seed: int = 0,
    ) -> None:
        self.level = checked_level(level)
        self._ranks = OnlineRanks(reference, seed=seed)
        self._capital = Martingale(lower=cross_fitted)
        self._most = 0.0  # as a logarithm
        self._images = 0
        self._alarm_at: int | None = None

    def add(self, value: float) -> None:
        """Take the next value of the stream; one that is not finite is an `InputError`."""
        if not math.isfinite(value):
            raise InputError(f"stream: value {value} is not finite")
        self._images += 1
        self._most = max(self._most, self._capital.bet(self._ranks.p_value(value)))
        if self._alarm_at is None and self._most >= -math.log(self.level):
            self._alarm_at = self._images

    @property
    def state(self) -> StreamState:
        """What has been found so far."""
        return StreamState(
            is_drift=self._alarm_at is not None,
            p_val=math.exp(-self._most),
            distance=self._most / math.log(10),
            threshold=self.level,
            log10_value=self._capital.log_value / math.log(10),
            images=self._images,
            alarm_at=self._alarm_at,
        )


def checked_level(level: float) -> float:
    """Return the level; an `InputError` unless it lies between 0 and 1."""
    if not is_real(level) or not 0.0 < level < 1.0:
        raise InputError(f"level: must be between 0 and 1 (0.01, not 1), not {level!r}")
    return float(level)


def _unspent(steps: int) -> float:
    """Return the fraction of the capital that is not bet yet."""
    return math.log(PATIENCE) / math.log(PATIENCE + steps)
