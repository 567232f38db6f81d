"""Class names: which are accepted, and in what form."""

from __future__ import annotations

from typing import TYPE_CHECKING

from synood.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable


def checked_class_names(names: Iterable[str]) -> tuple[str, ...]:
    """Return the names stripped; none, an empty or a repeated one is an `InputError`.

    Names that differ only in case or spacing count as one, since they mean the same class.

    >>> checked_class_names([" cat", "dog"])
    ('cat', 'dog')
    """
    if isinstance(names, str):
        raise InputError(f"class names: give a list of names, not the one text {names!r}")
    cleaned = tuple(" ".join(name.split()) for name in names)
    if not cleaned:
        raise InputError("class names: the list is empty; give at least one name")
    seen: dict[str, int] = {}
    for number, name in enumerate(cleaned, start=1):
        if not name:
            raise InputError(f"class names: number {number} is empty; name it or remove it")
        first = seen.setdefault(name.casefold(), number)
        if first != number:
            raise InputError(
                f"class names: {name!r} is there twice (numbers {first} and {number}); "
                "rename or remove one"
            )
    return cleaned
