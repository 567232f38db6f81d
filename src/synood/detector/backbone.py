"""The encoder a detector was made with: recorded by name and fingerprint, loaded when needed."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from synood.errors import CheckpointError, InputError
from synood.features.extractor import FeatureExtractor
from synood.images.presets import PREPROCESS
from synood.models.device import pick_device

if TYPE_CHECKING:
    from synood.models.bundles import Bundle
    from synood.models.clip import ImageTextEncoder


NONE = "none"  # the name of the bundle where there is no encoder


@dataclass
class Backbone:
    """Which bundle's encoder made the features, so that another one is never used by mistake.

    `path` is the directory of a bundle that is not built in. The encoder is loaded on the first
    call of `load` and kept.

    >>> Backbone("mini", "0123456789abcdef").bundle
    'mini'
    """

    bundle: str
    fingerprint: str
    path: str | None = None
    device: str = field(default="auto", compare=False)  # as given; see `chosen_device`
    encoder: ImageTextEncoder | None = field(default=None, compare=False, repr=False)
    found: str | None = field(default=None, compare=False, repr=False)  # where it lies now

    @classmethod
    def of(
        cls, bundle: Bundle, encoder: ImageTextEncoder | None = None, device: str = "auto"
    ) -> Backbone:
        """Record `bundle`'s encoder, loading it where it is not given."""
        encoder = encoder or bundle.encoder(pick_device(device))
        return cls(bundle.name, encoder.fingerprint, bundle.place, device, encoder)

    @classmethod
    def absent(cls) -> Backbone:
        """Record that there is no encoder: the features were computed elsewhere."""
        return cls(NONE, "")

    @property
    def is_absent(self) -> bool:
        """Whether there is no encoder, so that only features can be scored."""
        return not self.fingerprint

    @property
    def hub_id(self) -> str | None:
        """Id of the encoder on the model hub; None for one that lies elsewhere."""
        from synood.models.bundles import load_bundle

        if self.is_absent:
            return None
        try:
            spec = load_bundle(self.path or self.bundle).spec
        except CheckpointError:  # a bundle that is no longer there
            return None
        place = spec["encoder"].get("id")
        return None if place is None or _is_folder(place) else str(place)

    def published(self) -> Backbone:
        """Return the record for other machines: without places on this one, and nothing loaded.

        >>> Backbone("paper+encoder=/home/me/clip", "01ab").published().bundle
        'paper+encoder=clip'
        """
        name, *changes = re.split(r"\+(?=\w+(?:\.\w+)?=)", self.bundle)
        for number, change in enumerate(changes):
            part, _, place = change.partition("=")
            changes[number] = f"{part}={Path(place).name}" if _is_folder(place) else change
        return Backbone("+".join((name, *changes)), self.fingerprint)

    @property
    def is_public(self) -> bool:
        """Whether the encoder is found elsewhere by the name of its bundle alone."""
        return self.path is None and self.published().bundle == self.bundle

    def load(self) -> ImageTextEncoder:
        """Return the encoder; one with other weights than recorded is a `CheckpointError`.

        Where there is none, an `InputError` says what can be scored.
        """
        if self.is_absent:
            raise InputError(
                "the detector was made from features and has no encoder for images: compute "
                "their features as those were, then use `score_features` or "
                "`synood score DETECTOR --features FILE`"
            )
        if self.encoder is None:
            from synood.models.bundles import load_bundle

            self.encoder = self._checked(load_bundle(self.found or self.path or self.bundle))
        return self.encoder

    def extractor(self) -> FeatureExtractor:
        """Return what turns images into this encoder's features."""
        return FeatureExtractor(self.fingerprint, self.load, self.chosen_device)

    def use(self, bundle: Bundle) -> None:
        """Take the encoder from `bundle`, wherever that lies, if it is the recorded one."""
        self.encoder = self._checked(bundle)
        self.found = bundle.place or bundle.name

    def look_in(self, bundle: Bundle) -> None:
        """Load the encoder from `bundle` when it is needed; it is checked then."""
        self.found = bundle.place or bundle.name

    def on(self, device: str) -> Backbone:
        """Return the same record for another device, with nothing loaded."""
        return replace(self, device=device, encoder=None)

    def __reduce__(self) -> tuple[object, ...]:
        """Be sent as plain data, without what was loaded."""
        return Backbone, (self.bundle, self.fingerprint, self.path, self.device, None, self.found)

    def _checked(self, bundle: Bundle) -> ImageTextEncoder:
        encoder = bundle.encoder(self.chosen_device)
        earlier = f"{bundle.spec['encoder'].get('preprocess')}-upright"
        if encoder.fingerprint != self.fingerprint and earlier in PREPROCESS:
            upright = bundle.encoder(self.chosen_device, earlier)  # what its name once stood for
            encoder = upright if upright.fingerprint == self.fingerprint else encoder
        if encoder.fingerprint != self.fingerprint:
            raise CheckpointError(
                f"bundle {bundle.name!r}: its encoder ({encoder.fingerprint}) is not the one the "
                f"detector was made with ({self.bundle!r}, {self.fingerprint}); give that bundle "
                "as `models`, or make the detector again"
            )
        return encoder

    def with_preprocess(self, name: str) -> Backbone:
        """Return the checked encoder with a named preprocessing, recorded as the bundle's name is.

        Raises `InputError` for an unknown name.
        """
        from synood.models.presets import with_preset

        encoder = with_preset(self.load(), name)
        change = f"+encoder.preprocess={name}"
        path, found = (place and f"{place}{change}" for place in (self.path, self.found))
        name = f"{self.bundle}{change}"
        return Backbone(name, encoder.fingerprint, path, self.device, encoder, found)

    @property
    def chosen_device(self) -> str:
        """The device that `device` stands for on this machine."""
        return pick_device(self.device)

    @property
    def preprocess(self) -> str:
        """Name of the preprocessing: a preset's, or "own" for the checkpoint's."""
        _, named, preset = self.bundle.rpartition("+encoder.preprocess=")
        name = preset.partition("+")[0]
        return name if named and name != "exact" else "own"


def _is_folder(place: str) -> bool:
    """Whether a part of a bundle is a folder, which is recorded by its whole path, and no id."""
    return Path(place).is_absolute()
