"""The interface of an experiment: a question, and a function from a setup to an outcome."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from synood.benchmark.protocol.methods import Method

if TYPE_CHECKING:
    from synood.benchmark.experiments.setup import Setup
    from synood.benchmark.report.extra_tables import ExtraTable
    from synood.benchmark.results.comparisons import Comparison
    from synood.benchmark.results.published import Published
    from synood.benchmark.results.results import Row


@dataclass(frozen=True)
class Chart:
    """A line chart as an SVG file: `name` is its stem, `svg` the whole document.

    `words` are its text alternative, with all its numbers.
    """

    name: str
    svg: str
    words: str


@dataclass(frozen=True)
class Outcome:
    """What an experiment measured.

    `methods` are the lines of its table in order, `comparisons` have intervals over test images and
    seeds, `details` are further values for `results.json`, and `notes` are sentences for readers
    of the table, and `published` are figures of systems that are not built here.
    """

    methods: tuple[Method, ...]
    rows: tuple[Row, ...]
    comparisons: tuple[Comparison, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    extra_tables: tuple[ExtraTable, ...] = ()  # in addition to the usual table
    table: str | None = None  # instead of the usual table
    charts: tuple[Chart, ...] = ()
    images: Mapping[str, bytes] = field(default_factory=dict)  # file name -> an encoded image
    published: tuple[Published, ...] = ()


Run: TypeAlias = Callable[["Setup"], Outcome]


@dataclass(frozen=True)
class Experiment:
    """One table or figure: its name on the command line, its question, and the function to run.

    `benchmark` is the paper's; `images_factor` multiplies the number of images of each class that
    are redrawn.
    """

    name: str
    title: str
    asks: str
    run: Run
    benchmark: str = "imagenet-4"
    images_factor: int = 1


def variant(name: str, title: str, what: str, needs: Sequence[str]) -> Method:
    """Return the record of a variant of SynOOD, a line of a table."""
    return Method(name, title, what, "inductive", tuple(needs))
