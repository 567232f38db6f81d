"""An encoder with a preprocessing preset in place of its checkpoint's own."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING

from synood.errors import InputError
from synood.files import fingerprint
from synood.images.presets import PREPROCESS, Preprocess

if TYPE_CHECKING:
    from synood.models.clip import ImageTextEncoder

EXACT, FAST = "exact", "fast"  # the encoder's own steps, and how JPEGs are decoded for them
NAMES = (EXACT, FAST, *PREPROCESS)


def with_preset(encoder: ImageTextEncoder, name: str) -> ImageTextEncoder:
    """Return a copy of `encoder` with a preset's preprocessing; the two share their weights.

    A preset changes resizing, cropping and interpolation; size and normalisation stay those that
    the network was trained with. "fast" keeps the checkpoint's own steps and decodes large JPEGs at
    a reduced size (`Preprocess.reading`); "exact" is the checkpoint's own, as without a preset. A
    preset replaces an earlier one. Raises `InputError` for an unknown preset and for an encoder
    whose preprocessing cannot be replaced.
    """
    if name not in NAMES:
        raise InputError(f"preprocess {name!r} is unknown; use one of {', '.join(NAMES)}")
    encoder = getattr(encoder, "_without_preset", encoder)
    if name == EXACT:
        return encoder
    own = getattr(encoder, "preprocess", None)
    if not isinstance(own, Preprocess):
        raise InputError(f"encoder {encoder.name!r}: its preprocessing cannot be replaced")
    steps = replace(own, fast=True) if name == FAST else adapted_preset(PREPROCESS[name], own)
    changed = copy.copy(encoder)
    mark = fingerprint("preset", encoder.fingerprint, preprocess_fingerprint(steps))
    for kept in ("fingerprint", "_on_tensors"):  # computed for the old steps
        changed.__dict__.pop(kept, None)
    changed.__dict__.update(preprocess=steps, fingerprint=mark, _without_preset=encoder)
    return changed


def adapted_preset(preset: Preprocess, own: Preprocess) -> Preprocess:
    """Return a preset with the size and the normalisation of an encoder's own preprocessing."""
    resize = preset.resize and round(preset.resize / preset.size * own.size)
    return replace(preset, size=own.size, resize=resize, mean=own.mean, std=own.std)


def preprocess_fingerprint(steps: Preprocess) -> str:
    """Return sixteen hex digits that change with the steps, but not with their name."""
    reading = ["plain"] if steps.plain else []
    if steps.fast:
        reading.append(f"JPEGs of {steps.reading.side}")
    return fingerprint(repr(replace(steps, name="")), *reading)
