"""The compared methods: title, paper, kind, and what each needs."""

from __future__ import annotations

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


@dataclass(frozen=True)
class Method:
    """A method: its printed title, its paper, and what it needs besides the test image."""

    name: str
    title: str
    paper: str
    kind: MethodKind
    needs: tuple[str, ...]
    is_control: bool = False


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
