"""An encoder with one of the field's named preprocessings in place of its checkpoint's own."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING

from synood.errors import InputError
from synood.files import fingerprint
from synood.images.presets import PREPROCESS

if TYPE_CHECKING:
    from synood.images.presets import Preprocess
    from synood.models.clip import ImageTextEncoder


def with_preset(encoder: ImageTextEncoder, name: str) -> ImageTextEncoder:
    """Return `encoder` with the steps of a preset; the two share their weights.

    Size and normalisation stay the checkpoint's, which a network cannot do without: a preset is
    about resizing, cropping and interpolation. Raises `InputError` for an unknown preset and for
    an encoder that shows no steps to replace.
    """
    if name not in PREPROCESS:
        raise InputError(f"preprocess {name!r} is unknown; use one of {', '.join(PREPROCESS)}")
    own: Preprocess | None = getattr(encoder, "preprocess", None)
    if own is None:
        raise InputError(f"encoder {encoder.name!r}: its preprocessing cannot be replaced")
    steps = fitted(PREPROCESS[name], own)
    changed = copy.copy(encoder)
    mark = fingerprint("preset", encoder.fingerprint, steps_print(steps))
    for kept in ("fingerprint", "_on_tensors"):  # what was computed for the old steps
        changed.__dict__.pop(kept, None)
    changed.__dict__.update(preprocess=steps, fingerprint=mark)
    return changed


def fitted(preset: Preprocess, own: Preprocess) -> Preprocess:
    """Return a preset at another encoder's size, with that encoder's normalisation."""
    resize = preset.resize and round(preset.resize / preset.size * own.size)
    return replace(preset, size=own.size, resize=resize, mean=own.mean, std=own.std)


def steps_print(steps: Preprocess) -> str:
    """Sixteen hex digits of what the steps do, whatever they are called."""
    return fingerprint(repr(replace(steps, name="")))
