"""The compared methods: title, paper, kind, and what each needs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from synood.benchmark.results.results import MethodKind


CLASSIFIER = "a classifier trained on the in-distribution classes"
ENCODER = "an image-text encoder"
NAMES = "the class names"
WORDS = "a list of words"
IMAGES = "in-distribution images"
LABELLED = "labelled in-distribution images"

_YEAR = re.compile(r" (?:[A-Za-z]+ )?(20\d\d)\b")
_ARXIV = re.compile(r"arXiv (\d{4}\.\d{5})")


@dataclass(frozen=True)
class Method:
    """A method: its printed title, its paper, and what it needs besides the test image.

    `link` leads to the paper where it has no arXiv number.
    """

    name: str
    title: str
    paper: str
    kind: MethodKind
    needs: tuple[str, ...]
    is_control: bool = False
    link: str = ""

    @property
    def year(self) -> int | None:
        """Year of publication, as the paper's venue has it; None for a control."""
        found = _YEAR.search(self.paper)
        return int(found[1]) if found else None

    @property
    def url(self) -> str:
        """Address of the paper, empty for a control."""
        found = _ARXIV.search(self.paper)
        return self.link or (f"https://arxiv.org/abs/{found[1]}" if found else "")


MSP = Method(
    "msp",
    "MSP",
    "Hendrycks and Gimpel, ICLR 2017, arXiv 1610.02136",
    "inductive",
    (CLASSIFIER,),
)
ENERGY = Method(
    "energy",
    "Energy",
    "Liu et al., NeurIPS 2020, arXiv 2010.03759",
    "inductive",
    (CLASSIFIER,),
)
MCM = Method(
    "mcm",
    "MCM",
    "Ming et al., NeurIPS 2022, arXiv 2211.13445",
    "inductive",
    (ENCODER, NAMES),
)
NEGLABEL = Method(
    "neglabel",
    "NegLabel",
    "Jiang et al., ICLR 2024, arXiv 2403.20078; words that are class names are left out by default",
    "inductive",
    (ENCODER, NAMES, WORDS),
)
SYNOOD = Method(
    "synood",
    "SynOOD",
    "Li et al., ICCV 2025, arXiv 2507.10225",
    "inductive",
    (ENCODER, NAMES, WORDS, IMAGES, "an in-painting model", "a classifier"),
)
BASELINES = (MSP, ENERGY, MCM, NEGLABEL)


def titles(methods: Sequence[Method]) -> Mapping[str, str]:
    """Name -> printed title."""
    return {method.name: method.title for method in methods}
