"""Names of other things that come from a describer instead of a list of words.

The papers ask a caption decoder (ZOC) and a large language model (EOE). Here the bundle's describer
takes their place: a tagger over its vocabulary, a multimodal model, or a file of its answers. So
these rows are in the papers' style; their figures are the describer's as much as the score's.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from synood.labels.forms import NameForms

if TYPE_CHECKING:
    from collections.abc import Sequence

    from synood.benchmark.protocol.encoding import EncodedSet
    from synood.models.describer import Describer


def describe_set(
    describer: Describer, encoded: EncodedSet, class_names: Sequence[str]
) -> list[str]:
    """Describe each image of a set; a tagger needs only the features, which are there already."""
    from synood.models.describer import Tagger  # loads torch

    if isinstance(describer, Tagger):
        return describer.describe_features(encoded.features, class_names)
    files, texts = encoded.require_images(), list[str]()
    ids = [record.id for record in files.records]
    for images in files.batches():
        part = slice(len(texts), len(texts) + len(images))
        described = describer.describe(images, class_names[part], ids[part])
        texts += [text if isinstance(text, str) else "" for text in described]
    return texts


def split_names(text: str) -> tuple[str, ...]:
    """Return the names in a describer's answer, which commas or lines part."""
    parts = (" ".join(part.split()).strip(" .") for part in re.split(r"[,;\n]", text))
    return tuple(dict.fromkeys(part for part in parts if part))


def other_names(names: Sequence[str], class_names: Sequence[str]) -> tuple[str, ...]:
    """Leave out what is a class name in any case and spacing."""
    taken = NameForms(class_names)
    return tuple(name for name in names if name not in taken)
