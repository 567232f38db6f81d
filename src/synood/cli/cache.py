"""`synood cache`: the image and text features kept between runs."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated

from cyclopts import App, Parameter

from synood.cli.console import deliver
from synood.errors import InputError

_SECONDS = {"m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}

cache = App(
    name="cache", help="Show or clear the image and text features kept between runs.", sort_key=13
)


@cache.default
def show() -> None:
    """Show where features are cached, how many there are and how large the cache is.

    SYNOOD_CACHE sets the folder, SYNOOD_CACHE_SIZE the maximum size, e.g. 2GB (0: no cache).
    """
    from synood.features.cache import open_cache

    kept = open_cache()
    if kept is None:
        deliver("off: SYNOOD_CACHE_SIZE is 0\n")
        return
    found = kept.contents()
    deliver(
        f"{found.path}\n{found.features:,} features of {found.encoders} encoders, "
        f"{found.size / 1e6:,.1f} MB of at most {found.limit / 1e6:,.0f} MB\n"
    )
    if found.oldest is not None:
        oldest = datetime.fromtimestamp(found.oldest, UTC).isoformat(timespec="seconds")
        deliver(f"least recently used: {oldest}\n")


@cache.command
def clear(*, older_than: Annotated[str | None, Parameter(show_default=False)] = None) -> None:
    """Remove cached features; they are computed again when needed.

    Parameters
    ----------
    older_than
        Remove only features not used for this long: 30d, 12h, 45m or 2w.
    """
    from synood.features.cache import open_cache

    kept = open_cache()
    removed = 0 if kept is None else kept.clear(_seconds(older_than))
    deliver(f"{removed:,} features removed\n")


def _seconds(text: str | None) -> float | None:
    if text is None:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([mhdw])", text.strip().lower())
    if match is None:
        raise InputError(f"--older-than {text!r}: write a number and m, h, d or w, such as 30d")
    return float(match[1]) * _SECONDS[match[2]]
