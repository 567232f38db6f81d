"""How much a mined list of negative labels overlaps with another list."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from synood.labels.lists import repaired
from synood.labels.prompts import without_wnid
from synood.labels.wordnet import name_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from synood.labels.lists import LabelList
    from synood.labels.wordnet import Word

_SHOWN = 5  # missing labels that the text names


@dataclass(frozen=True)
class Overlap:
    """Two lists compared by their words, whatever their part of speech, case and "_".

    Attributes:
        source: name of the other list.
        mined: number of mined labels.
        listed: number of labels in the other list.
        shared: labels in both, once stray marks are removed from the other list.
        by_chance: expected number of shared labels if the mined ones were drawn at random.
        known: labels of the other list that are candidates as written.
        mended: labels of the other list that are candidates once a stray mark is removed.
        missing: the remaining labels, which mining this corpus cannot find.
        other_pos: labels known as the other part of speech.
        class_names: labels of the other list that are names of classes.
    """

    source: str
    mined: int
    listed: int
    shared: int
    by_chance: float
    known: int
    mended: int
    missing: tuple[str, ...]
    other_pos: int
    class_names: int

    def text(self) -> str:
        """Return the comparison in three lines."""
        rest = f"{len(self.missing):,} not at all"
        if self.missing:
            more = " ..." if len(self.missing) > _SHOWN else ""
            rest += f" ({', '.join(self.missing[:_SHOWN])}{more})"
        return (
            f"compared with {self.source}: {self.shared:,} of the {self.mined:,} labels mined are "
            f"among its {self.listed:,} ({self.shared / self.mined:.1%}; {self.by_chance:,.0f} "
            "would be by chance)\n"
            f"of its labels {self.known:,} are candidates ({self.known / self.listed:.2%}; "
            f"{self.other_pos:,} of them as the other part of speech), {self.mended:,} more once a "
            f"stray mark is removed, {rest}\n"
            f"{self.class_names:,} of its labels are class names"
        )


def compare_labels(
    mined: Sequence[Word], listed: LabelList, corpus: Sequence[Word], class_names: Iterable[str]
) -> Overlap:
    """Compare the labels `mined` from a `corpus` of candidates with those of a list."""
    candidates = {name_key(word.text): word.pos for word in corpus}
    found = {name_key(word.text) for word in mined}
    classes = {name_key(without_wnid(name)) for name in class_names}
    keys = {name_key(word.text): word for word in listed.words}
    known = [key for key in keys if key in candidates]
    others = [key for key in keys if key not in candidates]
    mended = [key for key in others if name_key(repaired(key)) in candidates]
    reachable = {*known, *(name_key(repaired(key)) for key in mended)}
    return Overlap(
        source=listed.source,
        mined=len(found),
        listed=len(keys),
        shared=len(found & reachable),
        by_chance=len(found) * len(reachable) / len(candidates),
        known=len(known),
        mended=len(mended),
        missing=tuple(key for key in others if key not in set(mended)),
        other_pos=sum(candidates[key] != keys[key].pos for key in known),
        class_names=len(classes & keys.keys()),
    )
