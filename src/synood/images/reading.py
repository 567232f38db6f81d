"""How files become RGB pixels: as a person sees them, as published benchmarks do, or in a hurry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

_REDUCED = ("JPEG", "MPO")  # formats whose decoder gives 1/2, 1/4 and 1/8 of the size for less work


@dataclass(frozen=True)
class Reading:
    """What `images.decoding` does to a file.

    `plain` reads as published benchmarks do, `Image.open(path).convert("RGB")`: not turned,
    transparency dropped. With `side`, a JPEG is decoded at 1/2, 1/4 or 1/8 of its size, the
    smallest of them whose shorter side still has so many pixels; 0 decodes it whole.

    >>> Reading(side=512).reduces("JPEG", (4000, 3000))
    True
    >>> Reading(side=512).reduces("JPEG", (1024, 768))
    False
    """

    plain: bool = False
    side: int = 0

    def reduces(self, kind: str | None, size: tuple[int, int]) -> bool:
        """Whether an image of this format and (width, height) is decoded at a reduced size."""
        return bool(self.side) and kind in _REDUCED and min(size) >= 2 * self.side

    def prepare(self, image: Image.Image) -> None:
        """Have an image that is opened and not yet loaded decode at the size that `side` asks."""
        if self.reduces(image.format, image.size):
            image.draft(None, (self.side, self.side))


UPRIGHT = Reading()
PLAIN = Reading(plain=True)
