"""`synood cache`: what is kept between runs, and clearing it."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated

from cyclopts import App, Parameter

from synood.errors import InputError

_SECONDS = {"m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}

cache = App(name="cache", help="Look at the features kept between runs, or clear them.", sort_key=9)


@cache.default
def show() -> int:
    """Say where the features of images are kept, how many, and how much room they take.

    SYNOOD_CACHE names the folder, SYNOOD_CACHE_SIZE the largest size, e.g. 2GB; 0 keeps none.
    """
    from synood.features.cache import open_cache

    kept = open_cache()
    if kept is None:
        print("off: SYNOOD_CACHE_SIZE is 0")
        return 0
    found = kept.contents()
    print(
        f"{found.path}\n{found.features:,} features of {found.encoders} encoders, "
        f"{found.size / 1e6:,.1f} MB of at most {found.limit / 1e6:,.0f} MB"
    )
    if found.oldest is not None:
        oldest = datetime.fromtimestamp(found.oldest, UTC).isoformat(timespec="seconds")
        print(f"used longest ago: {oldest}")
    return 0


@cache.command
def clear(*, older_than: Annotated[str | None, Parameter(show_default=False)] = None) -> int:
    """Remove kept features; they are made again when they are needed.

    Parameters
    ----------
    older_than
        Only those not used for so long: 30d, 12h, 45m or 2w.
    """
    from synood.features.cache import open_cache

    kept = open_cache()
    removed = 0 if kept is None else kept.clear(_seconds(older_than))
    print(f"{removed:,} features removed")
    return 0


def _seconds(text: str | None) -> float | None:
    if text is None:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([mhdw])", text.strip().lower())
    if match is None:
        raise InputError(f"--older-than {text!r}: write a number and m, h, d or w, such as 30d")
    return float(match[1]) * _SECONDS[match[2]]
