"""Class names: one form for each name wherever it comes from.

A folder, a line of a list and a name in Python are the same class when they differ only in case,
in spacing, in "_" for a space, in invisible characters, or in how Unicode composes an accent (NFC
or NFD).
"""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

from synood.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable


def class_name(text: str) -> str:
    """Return a class name in its one form: NFC, "_" as a space, single spaces, case as it is.

    Invisible characters, such as a byte-order mark within a list put together from several, go.

    >>> class_name(" fire_truck "), class_name("\\ufeffcat")
    ('fire truck', 'cat')
    """
    visible = "".join(char for char in text if not _is_invisible(char))
    return " ".join(unicodedata.normalize("NFC", visible).replace("_", " ").split())


def is_text(name: str) -> bool:
    """Whether a name holds nothing but text: no NUL, no control character, no half character.

    >>> is_text("café"), is_text("c\\0a\\0t"), is_text("\\ud800")
    (True, False, False)
    """
    return not any(unicodedata.category(char) in ("Cc", "Cs") for char in name)


def _is_invisible(char: str) -> bool:
    """Whether a character only steers the layout; joiners belong to Persian and Indic words."""
    return unicodedata.category(char) == "Cf" and char not in "\u200c\u200d"


def class_key(name: str) -> str:
    """Return the form in which class names are compared: `class_name` in lower case.

    >>> class_key("Fire_Truck") == class_key("fire  truck")
    True
    """
    return unicodedata.normalize("NFC", class_name(name).casefold())


def checked_class_names(names: Iterable[str]) -> tuple[str, ...]:
    """Return the names in their one form; none, an empty or a repeated one is an `InputError`.

    >>> checked_class_names([" cat", "fire_truck"])
    ('cat', 'fire truck')
    """
    if isinstance(names, str):
        raise InputError(f"class names: give a list of names, not the one text {names!r}")
    given = tuple(names)
    for number, name in enumerate(given, start=1):
        if not isinstance(name, str):
            raise InputError(f"class names: number {number} must be a text, not {name!r}")
    cleaned = tuple(map(class_name, given))
    if not cleaned:
        raise InputError("class names: the list is empty; give at least one name")
    seen: dict[str, int] = {}
    for number, name in enumerate(cleaned, start=1):
        if not name:
            raise InputError(f"class names: number {number} is empty; name it or remove it")
        if not is_text(name):
            raise InputError(
                f"class names: number {number}, {name!r}, holds a character that is no text; "
                "remove it"
            )
        first = seen.setdefault(class_key(name), number)
        if first != number:
            raise InputError(
                f"class names: {name!r} is listed twice (numbers {first} and {number}); "
                "rename or remove one"
            )
    return cleaned
