"""The models of a run, with their fingerprints; each is loaded when it is first used."""

from __future__ import annotations

from functools import cached_property
from importlib.util import find_spec
from typing import TYPE_CHECKING

from synood.errors import InputError
from synood.files import fingerprint
from synood.models._spec import PLACES
from synood.models.families import no_texts

if TYPE_CHECKING:
    from synood.models.bundles import Bundle
    from synood.models.classifier import Classifier
    from synood.models.clip import ImageTextEncoder
    from synood.models.describer import Describer
    from synood.models.latents import LatentInpainter


class Models:
    """The parts of a bundle on one device; reading a finished run loads none of them."""

    def __init__(self, bundle: Bundle, device: str, describer: Describer | None = None) -> None:
        self.bundle = bundle
        self.device = device
        self._describer = describer

    def on(self, device: str | None) -> Models:
        """Return these models, or the same bundle for another device, not yet loaded."""
        if device in (None, self.device):
            return self
        return Models(self.bundle, str(device), self._describer)

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle the bundle's location, not the loaded models."""
        place = self.bundle.place or self.bundle.name
        return _from_place, (place, self.device, self._describer)

    def part_fingerprint(self, part: str) -> str:
        """Return sixteen hex digits that change with the files and settings of one part."""
        spec = self.bundle.spec.get(part)
        hashes = self.bundle.spec.get("files")
        if spec is None or hashes is None:
            return fingerprint(part, self.bundle.fingerprint)
        places = [spec[key] for key in sorted(PLACES & spec.keys())]
        below = {
            name: digest
            for name, digest in hashes.items()
            if any(name == place or name.startswith(f"{place}/") for place in places)
        }
        return fingerprint(part, spec, {**below, **self.bundle.foreign_files(part)})

    def check_parts(self, inpaints: bool = True) -> None:
        """Raise an `InputError` for a missing part before the run begins."""
        name = self.bundle.name
        if not inpaints:
            return self.check_precision()
        if "inpainter" not in self.bundle.spec:
            raise InputError(
                f"bundle {name!r}: has no in-painting model; take one by name "
                "(--models NAME+painter=...) or choose another bundle"
            )
        if self._describer is None and "describer" not in self.bundle.spec:
            raise InputError(
                f"bundle {name!r}: has no describer; give the contexts of the images in a file "
                "(--descriptions FILE), an endpoint (--describer FILE) or `describer` in Python"
            )
        if find_spec("diffusers") is None:
            raise InputError("in-painting needs diffusers: pip install 'synood[synth]'")
        return self.check_precision()

    def check_texts(self) -> None:
        """Raise an `InputError` for an encoder of images alone, before it is loaded."""
        if not self.bundle.reads_texts:
            raise InputError(no_texts(self.encoder_name))

    @property
    def encoder_name(self) -> str:
        """What the encoder is called in messages: its id, its folder or its bundle."""
        return str(self.bundle.spec["encoder"].get("id", self.bundle.name))

    def check_precision(self) -> None:
        """Refuse an unknown precision, and warn of one that is slow here, before any work."""
        from synood.models.precision import chosen_dtype

        for part in self.bundle.parts:
            chosen_dtype(self.bundle.spec[part].get("dtype", "auto"), self.device)

    def check_available(self, inpaints: bool = True) -> None:
        """Raise an `InputError` now for parts that are neither cached nor within reach."""
        parts = ["encoder"]
        if inpaints:
            parts += ["inpainter", "classifier", *([] if self._describer else ["describer"])]
        self.bundle.check_available(parts)

    def check_describer(self) -> None:
        """Raise an `InputError` now for an endpoint without a usable key."""
        self.describing_plan(0)

    @cached_property
    def describer_fingerprint(self) -> str:
        """Fingerprint of the describer, which depends on the encoder as well."""
        if self._describer is not None:
            return self._describer.id
        return fingerprint(self.part_fingerprint("describer"), self.part_fingerprint("encoder"))

    def describing_plan(self, images: int) -> str | None:
        """Return the expected cost of describing so many images, or None if it is free.

        Raises an `InputError` for a cost above the limit.
        """
        paid = self.bundle.spec.get("describer", {}).get("type") == "endpoint"
        if self._describer is None and not paid:
            return None
        plan = getattr(self.describer, "plan", None)
        return None if plan is None else str(plan(images))

    @cached_property
    def inpainter_fingerprint(self) -> str:
        """Fingerprint of the in-painting model and of its precision on this device."""
        return fingerprint(self.part_fingerprint("inpainter"), self.inpainter_dtype)

    @property
    def inpainter_dtype(self) -> str:
        """The precision of the in-painting model's U-Net, such as "float32"."""
        from synood.models.precision import chosen_dtype

        named = self.bundle.spec.get("inpainter", {}).get("dtype", "auto")
        return str(chosen_dtype(named, self.device)).removeprefix("torch.")

    @cached_property
    def encoder(self) -> ImageTextEncoder:
        """The image-text encoder."""
        return self.bundle.encoder(self.device)

    @cached_property
    def inpainter(self) -> LatentInpainter:
        """The in-painting model."""
        return self.bundle.inpainter(self.device)

    @cached_property
    def classifier(self) -> Classifier | None:
        """The bundle's own classifier, if it has one."""
        return self.bundle.classifier(self.device)

    @cached_property
    def describer(self) -> Describer:
        """The given describer, else the bundle's."""
        return self._describer or self.bundle.describer(self.encoder, self.device)


def _from_place(place: str, device: str, describer: Describer | None) -> Models:
    from synood.models.bundles import load_bundle

    return Models(load_bundle(place), device, describer)
