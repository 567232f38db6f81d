"""What an experiment is: a question, and a function from a prepared stage to measured rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from synood.benchmark.protocol.methods import Method

if TYPE_CHECKING:
    from synood.benchmark.experiments.setup import Setup
    from synood.benchmark.report.extra_tables import ExtraTable
    from synood.benchmark.results.comparisons import Comparison
    from synood.benchmark.results.results import Row


@dataclass(frozen=True)
class Chart:
    """A line chart as an SVG file: `name` is its stem, `svg` the whole document.

    `words` say what it shows, its figures among them, to those who cannot see it.
    """

    name: str
    svg: str
    words: str


@dataclass(frozen=True)
class Outcome:
    """What an experiment measured.

    `methods` are the lines of its table in order, `comparisons` what is better than what with
    intervals over test images and seeds, `details` anything else for `results.json`, and `notes`
    sentences that a reader of the table must know.
    """

    methods: tuple[Method, ...]
    rows: tuple[Row, ...]
    comparisons: tuple[Comparison, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    extra_tables: tuple[ExtraTable, ...] = ()  # beside the usual table
    table: str | None = None  # in place of the usual table, where the columns are no OOD sets
    charts: tuple[Chart, ...] = ()
    images: Mapping[str, bytes] = field(default_factory=dict)  # file name -> an encoded image


Run: TypeAlias = Callable[["Setup"], Outcome]


@dataclass(frozen=True)
class Experiment:
    """One table or figure: its name on the command line, what it asks, and how it is run.

    `benchmark` is the one that the paper used for it, `images_factor` multiplies how many images
    of each class are redrawn.
    """

    name: str
    title: str
    asks: str
    run: Run
    benchmark: str = "imagenet-4"
    images_factor: int = 1


def variant(name: str, title: str, what: str, needs: Sequence[str]) -> Method:
    """Return the record of a variant of SynOOD, as one line of a table."""
    return Method(name, title, what, "inductive", tuple(needs))
