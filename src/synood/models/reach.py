"""What an embedded encoder is out of its depth with: kinds of images, and names.

The checkpoints of the hub have read and seen far more, and nothing is said of them here.
"""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING

from synood.errors import InputError
from synood.files import read_json
from synood.labels.checks import listed
from synood.labels.unknown import unknown_names
from synood.models.bundles import EMBEDDED, load_bundle

if TYPE_CHECKING:
    from collections.abc import Sequence

    from synood.models.bundles import Bundle

DRAWINGS = (
    "the encoder of bundle 'mini' knows drawings, such as emoji and clip art, and sees photographs "
    "badly"
)


def knows_drawings_alone(bundle: Bundle) -> bool:
    """Whether a bundle's encoder is that of `mini`."""
    return _home(bundle) == "mini"


def backbone_knows_drawings_alone(name: str) -> bool:
    """Whether the bundle that a detector was made with has the encoder of `mini`."""
    with suppress(InputError):
        return knows_drawings_alone(load_bundle(name))
    return False


def is_embedded(bundle: Bundle) -> bool:
    """Whether a bundle's encoder is one of the package's."""
    return _home(bundle) is not None


def _home(bundle: Bundle) -> str | None:
    """Return which embedded bundle an encoder is of; None for another's."""
    place = bundle.spec["encoder"].get("path")
    for name, root in EMBEDDED.items():
        if place == f"{name}:encoder" or (place == "encoder" and bundle.root == root):
            return name
    return None


def name_remarks(bundle: Bundle, names: Sequence[str]) -> list[str]:
    """Say which class names an embedded encoder's text model has no word for."""
    if not is_embedded(bundle):
        return []
    unknown = unknown_names(names, _vocabulary())
    if not unknown:
        return []
    return [
        f"{listed(unknown)}: no word that the encoder of bundle {bundle.name!r} knows, so what it "
        "makes of the text is chance; give a common name (--classes), or an encoder that has read "
        "more"
    ]


@cache
def _vocabulary() -> frozenset[str]:
    """Return the whole words of the text model that the embedded encoders share."""
    tokens = read_json(EMBEDDED["mini"] / "encoder" / "text" / "tokenizer.json")
    return frozenset(token for token in tokens["model"]["vocab"] if token[0] not in "#[")
