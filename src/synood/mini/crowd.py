"""Crowded scenes of the mini world: a small subject among clutter, as a camera would save it.

Subjects of all image sets, in-distribution and OOD alike, stand in the same crowd: context objects
behind, beside and before them, cut off by the edge, out of focus, compressed as JPEG. `Crowding`
holds how much of each; it was chosen on the split's validation images (docs/benchmarks.md).
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

from synood.mini.world import SIZE, Scene, World, background, paste

Range = tuple[float, float]  # drawn from uniformly


@dataclass(frozen=True)
class Crowding:
    """How crowded a scene is; lengths are fractions of its width."""

    subject: Range = (0.5, 0.8)  # its longer side
    centre: Range = (0.28, 0.72)  # across and down; the edge may cut the subject off
    behind: tuple[int, int] = (1, 3)  # number of context objects out of focus behind it
    beside: tuple[int, int] = (0, 2)  # number of those in focus, which the subject may cover
    clutter: Range = (0.2, 0.4)  # their longer sides
    focus: Range = (0.8, 1.6)  # pixels: blur of what is behind
    occluded: float = 0.2  # fraction of subjects that a context object partly covers
    occluder: Range = (0.15, 0.25)  # its longer side
    rim: Range = (0.3, 0.5)  # from the subject's centre to its own, in lengths of the subject
    blur: Range = (0.0, 0.5)  # pixels: of the whole image
    quality: tuple[int, int] = (40, 85)  # of the JPEG


class CrowdedWorld(World):
    """Composes crowded scenes; drawings and concepts are those of the world."""

    crowding = Crowding()

    def scene(self, subject: str, rng: np.random.Generator, size: int = SIZE) -> Scene:
        """Compose a subject in a crowd; names are the subject's, then the crowd's."""
        canvas = background(rng, size)
        crowd = self._crowd(canvas, rng)
        crowd += self._subject(canvas, self.drawing(subject, rng), rng)
        return Scene(photographed(canvas, rng, self.crowding), (subject, *crowd))

    def empty(self, rng: np.random.Generator) -> np.ndarray:
        """Compose a crowd without a subject: uint8 (64, 64, 3)."""
        return self.texture(background(rng), rng)

    def single(self, picture: Image.Image, rng: np.random.Generator) -> np.ndarray:
        """Show a thing that was photographed on black as the subject: uint8 (64, 64, 3)."""
        grey = picture.convert("L")
        subject = grey.convert("RGBA")
        subject.putalpha(grey.point(lambda value: min(255, 8 * value)))
        canvas = background(rng)
        self._crowd(canvas, rng)
        self._subject(canvas, subject, rng)
        return photographed(canvas, rng, self.crowding)

    def texture(self, picture: Image.Image, rng: np.random.Generator) -> np.ndarray:
        """Put a crowd on a picture of 64 x 64 pixels: uint8 (64, 64, 3)."""
        canvas = picture.convert("RGB")
        self._crowd(canvas, rng)
        return photographed(canvas, rng, self.crowding)

    def _crowd(self, canvas: Image.Image, rng: np.random.Generator) -> list[str]:
        """Paste context objects, the first ones out of focus like the background."""
        by = self.crowding
        behind, beside = (int(rng.integers(*n, endpoint=True)) for n in (by.behind, by.beside))
        names = [str(name) for name in rng.choice(self.context, behind + beside, replace=False)]
        for name in names[:behind]:
            self._anywhere(canvas, name, rng)
        canvas.paste(canvas.filter(ImageFilter.GaussianBlur(rng.uniform(*by.focus))))
        for name in names[behind:]:
            self._anywhere(canvas, name, rng)
        return names

    def _anywhere(self, canvas: Image.Image, name: str, rng: np.random.Generator) -> None:
        x, y = rng.uniform(0, 1, 2)
        paste(canvas, self.drawing(name, rng), rng.uniform(*self.crowding.clutter), (x, y), rng)

    def _subject(
        self, canvas: Image.Image, drawing: Image.Image, rng: np.random.Generator
    ) -> list[str]:
        """Paste the subject and, before some, a context object; return the latter's name."""
        by = self.crowding
        extent, centre = rng.uniform(*by.subject), rng.uniform(*by.centre, 2)
        paste(canvas, drawing, extent, (centre[0], centre[1]), rng)
        if rng.random() >= by.occluded:
            return []
        name = str(rng.choice(self.context))
        turn, far = rng.uniform(0, 2 * np.pi), rng.uniform(*by.rim) * extent
        place = centre[0] + far * np.cos(turn), centre[1] + far * np.sin(turn)
        paste(canvas, self.drawing(name, rng), rng.uniform(*by.occluder), place, rng)
        return [name]


def photographed(scene: Image.Image, rng: np.random.Generator, by: Crowding) -> np.ndarray:
    """Blur a scene and compress it as JPEG: uint8 (S, S, 3)."""
    data = io.BytesIO()
    blurred = scene.filter(ImageFilter.GaussianBlur(rng.uniform(*by.blur)))
    blurred.save(data, "JPEG", quality=int(rng.integers(*by.quality, endpoint=True)))
    return np.asarray(Image.open(data).convert("RGB"))
