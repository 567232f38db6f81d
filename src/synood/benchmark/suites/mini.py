"""The mini suite: scenes of the mini world, written to files once and read back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

from synood.benchmark.suites.suite import Suite, check_disjoint, read_suite
from synood.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path


Split = Literal["main", "hard", "crowded"]


class SuiteWriter(Protocol):
    """Writes a suite's images and its suite.json to `root`."""

    def __call__(self, root: Path, seed: int = 0, split: Split = "main") -> None:
        """Write the suite; the same seed and split give the same bytes."""


def prepare_mini(
    root: Path, seed: int = 0, split: Split = "main", writer: SuiteWriter | None = None
) -> Suite:
    """Return the mini suite in `root`, which is written at its first use.

    A suite of another seed or split in the same folder is refused, not overwritten. `writer` is
    the mini world's by default.
    """
    if not (root / "suite.json").exists():
        (writer or _mini_writer())(root, seed=seed, split=split)
    suite = read_suite(root)
    if (suite.seed, suite.split) != (seed, split):
        raise InputError(
            f"{root / 'suite.json'}: holds seed {suite.seed}, split {suite.split!r}, "
            f"not seed {seed}, split {split!r}; choose another folder"
        )
    check_disjoint(suite)
    return suite


def validation_names(suite: Suite) -> tuple[str, ...]:
    """Names of what a suite's validation OOD images show, in alphabetical order, if known.

    They are known of the mini suite, and of OOD sets that are listed with the class of each image.
    """
    listed = [
        record.label
        for item in suite.ood("validation")
        if item.listed is not None
        for record in item.listed.records
    ]
    names = {label for label in listed if label}
    if suite.name == "mini":
        from synood.mini.artwork import Artwork  # imported only to name
        from synood.mini.concepts import spoken
        from synood.mini.suite import ARTWORK

        drawn = Artwork.load(ARTWORK)
        for part in ("validation-near", "validation-far"):
            names |= {spoken(concept) for concept in drawn.concepts(part)}
    return tuple(sorted(names))


def _mini_writer() -> SuiteWriter:
    from synood.mini.suite import write_suite  # imported only to write

    return write_suite
