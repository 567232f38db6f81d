"""Tables whose columns are not OOD sets, in addition to an experiment's rows."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from synood.benchmark.results.text import aligned
from synood.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from synood.benchmark.results.results import Results


@dataclass(frozen=True)
class ExtraTable:
    """A table: a title, column headings, and lines that begin with a name."""

    title: str
    head: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]

    def text(self) -> str:
        """Return it as plain text, numbers flush right.

        >>> print(ExtraTable("Sizes", ("", "n"), (("train", "10"), ("test", "5"))).text())
        Sizes
                n
        train  10
        test    5
        """
        return "\n".join([self.title, *aligned([self.head, *self.lines])])


def extra_tables_to_json(extra_tables: Iterable[ExtraTable]) -> list[dict[str, Any]]:
    """Return tables as JSON values, for `run.sheets` of results.json."""
    return [
        {**asdict(sheet), "head": list(sheet.head), "lines": [list(line) for line in sheet.lines]}
        for sheet in extra_tables
    ]


def extra_tables_of(results: Results) -> tuple[ExtraTable, ...]:
    """Return the extra tables of the file; a malformed one is an `InputError`."""
    listed = results.run.get("sheets", [])
    if not isinstance(listed, list):
        raise InputError("results: run.sheets must be a list")
    return tuple(_sheet(item, number) for number, item in enumerate(listed))


def _sheet(item: object, number: int) -> ExtraTable:
    values: Any = item if isinstance(item, dict) else {}
    title, head, lines = (values.get(name) for name in ("title", "head", "lines"))
    listed = isinstance(head, list) and isinstance(lines, list) and bool(head)
    if not (
        listed
        and isinstance(title, str)
        and all(_is_line(line, len(head)) for line in (head, *lines))
    ):
        raise InputError(
            f"results: run.sheets, entry {number}: needs a text title, a list of texts head, and "
            "lines that are lists of as many texts"
        )
    return ExtraTable(title, tuple(head), tuple(tuple(line) for line in lines))


def _is_line(value: object, cells: int) -> bool:
    if not isinstance(value, list) or len(value) != cells:
        return False
    return all(isinstance(cell, str) for cell in value)
