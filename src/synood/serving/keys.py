"""The bearer key that clients of a server must show, if there is one."""

from __future__ import annotations

import hmac
import os
from typing import TYPE_CHECKING

from synood.errors import InputError
from synood.files import read_text

if TYPE_CHECKING:
    from pathlib import Path

VARIABLE = "SYNOOD_API_KEY"
SHORTEST = 16  # characters; shorter keys can be guessed
_MAKE = "make one with `openssl rand -hex 32`"


def read_key(file: Path | None) -> str | None:
    """Return the key in a file or, without one, in the environment; None where neither is.

    Raises `InputError` for a key that is empty, short or not one line of printable ASCII.
    """
    place = VARIABLE if file is None else str(file)
    text = os.environ.get(VARIABLE) if file is None else read_text(file)
    if text is None:
        return None
    key = text.strip()
    if not key:
        raise InputError(f"{place}: the key is empty; {_MAKE}")
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise InputError(f"{place}: the key must be one word of ASCII characters; {_MAKE}")
    if len(key) < SHORTEST:
        raise InputError(f"{place}: the key has under {SHORTEST} characters; {_MAKE}")
    return key


def shows_key(authorization: str, key: str) -> bool:
    """Whether an Authorization header has the key; takes as long whatever it has."""
    scheme, _, given = authorization.partition(" ")
    same = hmac.compare_digest(given.strip().encode(), key.encode())
    return same and scheme.lower() == "bearer"
