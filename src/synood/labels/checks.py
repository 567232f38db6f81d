"""Warnings about lists of class names that look like something else."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from synood.labels.class_names import class_key
from synood.labels.forms import alike
from synood.labels.imagenet import imagenet_classes

if TYPE_CHECKING:
    from collections.abc import Sequence

_PARTS = """
train training val valid validation dev test testing holdout calibration split
fold folds partition subset inliers outliers
id in-distribution ood out-of-distribution near far near-ood far-ood id-train id-val id-test
images image imgs img pictures photos data dataset labels annotations masks
"""
PARTS = frozenset(_PARTS.split())
_PART_WORDS = frozenset((*"-".join(PARTS).split("-"), "set", "sets", "folder"))
_HEADINGS = frozenset(
    ("class", "classes", "class name", "class names", "classname", "classnames", "name", "names")
)
_WNID = re.compile(r"(n\d{8})(?:[ _-].*)?")
_NUMBER = re.compile(r"(?:class|label|category|cls)?[ -]*\d+(?:\.\d+)?", re.IGNORECASE)
_ESCAPED = re.compile(r"\\x[0-9a-f]{2}")
_SEVERAL = re.compile(r"[,;|\t]")
_MARKED = re.compile(r"[-*\u2022\"',;]|\d+(?:\s*[.:)]| )|.*[\"',;:]$|.*\s\d+$")
_SHOWN = 5  # names that a warning lists


def class_name_warnings(names: Sequence[str]) -> list[str]:
    """Say what makes names look like something other than names of classes, each with its fix.

    Looked for are parts of a dataset ("train"), numbers, WordNet ids, several names in one
    ("cat, dog"), what a list was written with ("# animals", "1. cat", "cat.png 0"), folders whose
    names are not UTF-8, and forms of one name ("dog", "dogs").

    >>> class_name_warnings(["cat, dog"])
    ["class name 'cat, dog': several names in one? Give each its own line"]
    """
    checks = (_parts, _numbers, _wordnet_ids, _several_in_one, _heading, _marked, _escaped, _alike)
    return [warning for check in checks if (warning := check(names))]


def _parts(names: Sequence[str]) -> str:
    found = [name for name in names if _is_part(class_key(name).replace(" ", "-"))]
    if not found:
        return ""
    return f"{listed(found)}: parts of a dataset? Give the folder that holds one folder per class"


def _is_part(key: str) -> bool:
    """Whether a name is "train", "test-set" or "val2017", which say nothing of what is shown."""
    words = [word for word in re.split(r"[-\d.]+", key) if word]
    return key in PARTS or (bool(PARTS & {*words}) and {*words} <= _PART_WORDS)


def _numbers(names: Sequence[str]) -> str:
    found = [name for name in names if _NUMBER.fullmatch(name)]
    if not found:
        return ""
    return (
        f"{listed(found)}: numbers mean nothing to a text encoder; name the classes in a file "
        f'(--classes names.json with {{"{found[0]}": "cat", ...}})'
    )


def _wordnet_ids(names: Sequence[str]) -> str:
    found = [name for name in names if _WNID.fullmatch(name)]
    if not found:
        return ""
    known = {item.wnid: item.openai for item in imagenet_classes()}
    wnids = [name[:9] for name in found]
    words = [f"{wnid} is {known[wnid]!r}" for wnid in wnids if wnid in known]
    meaning = f" ({', '.join(words[:_SHOWN])}{', ...' if len(words) > _SHOWN else ''})"
    return (
        f"{listed(found)}: WordNet ids{meaning if words else ''}, which mean nothing to a text "
        "encoder; name the classes in a file "
        f'(--classes names.json with {{"{found[0]}": "{known.get(wnids[0], "cat")}", ...}})'
    )


def _several_in_one(names: Sequence[str]) -> str:
    if not all(_SEVERAL.search(name) for name in names):  # some names may have synonyms with them
        return ""
    return f"{listed(names)}: several names in one? Give each its own line"


def _heading(names: Sequence[str]) -> str:
    found = [name for name in names[:1] if class_key(name) in _HEADINGS]
    found += [name for name in names if name.startswith("#")]
    if not found:
        return ""
    return f"{listed(found)}: a heading or a comment? A list holds class names alone; remove it"


def _marked(names: Sequence[str]) -> str:
    found = [name for name in names if _MARKED.match(name) and not _NUMBER.fullmatch(name)]
    if len(found) < len(names):  # a name may end in a number; all names do in a list of files
        return ""
    return f"{listed(found)}: more than names? Leave out numbers, quotation marks and commas"


def _escaped(names: Sequence[str]) -> str:
    found = [name for name in names if _ESCAPED.search(name)]
    if not found:
        return ""
    return f"{listed(found)}: not UTF-8; rename the folder or name the class in a file (--classes)"


def _alike(names: Sequence[str]) -> str:
    pairs = [f"{first!r} and {second!r}" for first, second in alike(names)]
    if not pairs:
        return ""
    more = ", ..." if len(pairs) > _SHOWN else ""
    return f"class names {', '.join(pairs[:_SHOWN])}{more}: one class in two forms? Merge them"


def listed(names: Sequence[str]) -> str:
    """Return the first few names for a sentence: "class names 'a', 'b' and 3 more"."""
    shown = ", ".join(repr(name) for name in names[:_SHOWN])
    more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    return f"class name{'s' if len(names) > 1 else ''} {shown}{more}"
