"""How often a watched stream is alarmed of for nothing, and how soon of drift; simulated.

python perf/watching.py; 1,000 streams of 2,000 images each for every reference. Scores are normal:
the ranks that the test bets on do not depend on their distribution. --fixed adds what p-values
against the reference alone would do, as they are often used.
"""

from __future__ import annotations

import argparse
import math
from typing import TYPE_CHECKING

import numpy as np

from synood.detector.martingale import Martingale, StreamTest

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Change = Callable[[np.random.Generator, int], NDArray[np.float64]]

LEVEL, LENGTH = 0.01, 2_000
REFERENCES = (0, 20, 200, 1_000)
BEFORE = (0, 1_000)  # images before the change
CHANGES: dict[str, Change] = {
    "1 deviation lower": lambda rng, n: rng.normal(size=n) - 1.0,
    "1/2 deviation lower": lambda rng, n: rng.normal(size=n) - 0.5,
    "1 deviation higher": lambda rng, n: rng.normal(size=n) + 1.0,
    "half again as wide": lambda rng, n: 1.5 * rng.normal(size=n),
    "a tenth is OOD, 6 lower": lambda rng, n: rng.normal(size=n) - 6.0 * (rng.random(n) < 0.1),
}


def alarm(known: NDArray[np.float64], stream: NDArray[np.float64], seed: int) -> int | None:
    """Return at which image, from 1, a stream is alarmed of; None: never."""
    test = StreamTest(known, LEVEL, seed=seed)
    for value in stream.tolist():
        test.add(value)
        if test.state.is_drift:
            break
    return test.state.alarm_at


def alarmed_by_a_fixed_reference(
    known: NDArray[np.float64], stream: NDArray[np.float64], rng: np.random.Generator
) -> bool:
    """Bet on ranks among the reference alone, which are neither independent nor uniform."""
    money = Martingale()
    below = np.searchsorted(np.sort(known), stream)
    ranks = (below + rng.random(len(stream))) / (len(known) + 1)
    return any(money.bet(rank) >= -math.log(LEVEL) for rank in ranks.tolist())


def print_false_alarms(streams: int, fixed: bool) -> None:
    """Print how many streams without a change are alarmed of."""
    print(f"false alarms, % of {streams:,} streams of {LENGTH:,} images, level {100 * LEVEL:g} %")
    print(f"{'reference':>10} {'alarmed':>9}{'by a fixed reference' if fixed else '':>23}".rstrip())
    for size in REFERENCES:
        rng, found, other = np.random.default_rng(size), 0, 0
        for seed in range(streams):
            known, stream = rng.normal(size=size), rng.normal(size=LENGTH)
            found += alarm(known, stream, seed) is not None
            other += fixed and size > 0 and alarmed_by_a_fixed_reference(known, stream, rng)
        beside = f"{100 * other / streams:>23.1f}" if fixed and size else ""
        print(f"{size:>10,} {100 * found / streams:>9.1f}{beside}")


def print_delays(streams: int) -> None:
    """Print how many images after a change the alarm comes, and in how many streams it does."""
    print(f"images until the alarm, median, and % of {streams:,} streams with one in time")
    head = [f"{'after ' + format(before, ','):>22}" for before in BEFORE]
    print(f"{'change':<26}{'reference':>10}{''.join(head)}")
    for name, change in CHANGES.items():
        for size in REFERENCES[1:]:
            cells = [cell(change, size, before, streams) for before in BEFORE]
            print(f"{name:<26}{size:>10,}{''.join(cells)}")


def cell(change: Change, size: int, before: int, streams: int) -> str:
    """Return the median delay of an alarm, and the share of streams that had one."""
    rng, delays = np.random.default_rng(size + before), []
    for seed in range(streams):
        known = rng.normal(size=size)
        stream = np.concatenate([rng.normal(size=before), change(rng, LENGTH - before)])
        at = alarm(known, stream, seed)
        if at is not None and at > before:
            delays.append(at - before)
    middle = f"{np.median(delays):.0f}" if delays else "-"
    return f"{middle:>14}{100 * len(delays) / streams:>6.0f} %"


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=1_000, help="streams without a change")
    parser.add_argument("--changed", type=int, default=100, help="streams with each change")
    parser.add_argument("--fixed", action="store_true", help="also bet on a fixed reference")
    arguments = parser.parse_args()
    print_false_alarms(arguments.streams, arguments.fixed)
    print_delays(arguments.changed)


if __name__ == "__main__":
    main()
