"""The 1,000 classes of ImageNet-1k, by WordNet id, under the names used in the field.

`imagenet-classes.tsv` holds, in the order of the ids (the order of classifier outputs), the name of
OpenAI's CLIP notebook (the same list is NegLabel's class_names.py at 3253db6) and the words of the
synset as SynOOD's code lists them (texts/ind_name.txt at e13114e).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Literal

from synood.labels.class_names import class_key

if TYPE_CHECKING:
    from collections.abc import Iterable

Naming = Literal["openai", "synood"]
NAMINGS: tuple[Naming, ...] = ("openai", "synood")
_TABLE = "imagenet-classes.tsv"


@dataclass(frozen=True)
class ImageNetClass:
    """One class: its WordNet id, OpenAI's name and the words of its synset in order."""

    wnid: str
    openai: str
    synonyms: tuple[str, ...]

    def name(self, naming: Naming) -> str:
        """Return the class's name: OpenAI's, or the first synonym, which SynOOD's code uses."""
        return self.openai if naming == "openai" else self.synonyms[0]


@cache
def imagenet_classes() -> tuple[ImageNetClass, ...]:
    """Return the classes in the order of their ids.

    >>> imagenet_classes()[7]
    ImageNetClass(wnid='n01514668', openai='rooster', synonyms=('cock',))
    """
    text = resources.files("synood.labels").joinpath(_TABLE).read_text(encoding="utf-8")
    rows = [line.split("\t") for line in text.splitlines()[1:]]
    return tuple(ImageNetClass(row[0], row[1], tuple(row[2].split(", "))) for row in rows)


def class_names_by_wnid(naming: Naming = "openai") -> dict[str, str]:
    """Return id -> class name, no two alike.

    Names that two classes share ("missile" and "sunglasses" of OpenAI's; "crane", "maillot",
    "corn" and "cardigan" of the first synonyms) end in the id in brackets, which prompts leave out
    (`synood.labels.prompts.without_wnid`): the two remain two classes with one
    prompt, as in the original code.

    >>> class_names_by_wnid()["n04008634"]
    'missile [n04008634]'
    """
    names = {item.wnid: item.name(naming) for item in imagenet_classes()}
    often = Counter(name.casefold() for name in names.values())
    return {
        wnid: f"{name} [{wnid}]" if often[name.casefold()] > 1 else name
        for wnid, name in names.items()
    }


def same_classes(first: Iterable[str], second: Iterable[str]) -> bool:
    """Whether two lists name the same classes, in any order and upper or lower case.

    ImageNet's classes are the same under each of their names: those above and the whole synsets
    of checkpoints ("tench, Tinca tinca").

    >>> same_classes(class_names_by_wnid("openai").values(), class_names_by_wnid("synood").values())
    True
    """
    return _folded(first) == _folded(second)


def wnids_of(names: Iterable[str]) -> tuple[str, ...] | None:
    """Return each name's WordNet id, in order, if the names are ImageNet's; None otherwise.

    All 1,000 classes, under any of their names as in `same_classes`, or under the ids themselves.

    >>> wnids_of(class_names_by_wnid("synood").values())[7], wnids_of(["cat", "dog"])
    ('n01514668', None)
    """
    keys = tuple(class_key(name) for name in names)
    ids = tuple(item.wnid for item in imagenet_classes())
    for known in _keys_in_order():
        if keys == known:
            return ids  # also where two classes share a name
        by_key = dict(zip(known, ids, strict=True))
        if len(by_key) == len({*keys}) == len(keys) == len(ids) and by_key.keys() == {*keys}:
            return tuple(by_key[key] for key in keys)
    return None


@cache
def _keys_in_order() -> tuple[tuple[str, ...], ...]:
    """Return the keys of each list of names, in the order of the ids."""
    synsets = [", ".join(item.synonyms) for item in imagenet_classes()]
    own = [item.wnid for item in imagenet_classes()]
    plain = [[item.name(naming) for item in imagenet_classes()] for naming in NAMINGS]
    lists = (*(class_names_by_wnid(naming).values() for naming in NAMINGS), *plain, synsets, own)
    return tuple(tuple(class_key(name) for name in names) for names in lists)


def _folded(names: Iterable[str]) -> list[str]:
    """Return the sorted keys of the names; the same for every list of ImageNet's names."""
    folded = sorted(class_key(name) for name in names)
    lists = _known_lists()
    return lists[0] if folded in lists else folded


@cache
def _known_lists() -> list[list[str]]:
    lists = [class_names_by_wnid(naming).values() for naming in NAMINGS]
    plain = [[item.name(naming) for item in imagenet_classes()] for naming in NAMINGS]
    synsets = [", ".join(item.synonyms) for item in imagenet_classes()]
    return [sorted(class_key(name) for name in names) for names in (*lists, *plain, synsets)]
