"""Scenes of the mini world: one large subject with context objects on a background, 64 px.

Class, context and background of every scene are known, as the trainers and the tests need. All
randomness comes from the generator that is passed in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from synood.mini.concepts import CONTEXT, HELD_OUT_VENDOR, IN_DISTRIBUTION, VENDORS, spoken

if TYPE_CHECKING:
    from synood.mini.artwork import Artwork

SIZE = 64
SEEN_VENDORS = tuple(vendor for vendor in VENDORS if vendor != HELD_OUT_VENDOR)
CAPTION_FORMS = (
    "{}", "a photo of {}", "A photo only remain {}.", "a picture of {}", "a photo of a {}",
)  # fmt: skip


@dataclass(frozen=True)
class Scene:
    """One composed image, uint8 (64, 64, 3), and what is in it, largest first."""

    image: np.ndarray
    names: tuple[str, ...]


def background(rng: np.random.Generator, size: int = SIZE) -> Image.Image:
    """Draw a background: plain, gradient, soft clouds of colour, land and sky, or stripes."""
    colours = rng.integers(40, 256, (4, 3)).astype(np.float32)
    colours = colours + 0.5 * (colours.mean(axis=1, keepdims=True) - colours)  # less gaudy
    kind = rng.choice(5, p=[0.15, 0.3, 0.25, 0.2, 0.1])
    t = np.linspace(0, 1, size, dtype=np.float32)
    if kind == 0:
        pixels = np.broadcast_to(colours[0], (size, size, 3))
    elif kind == 1:
        angle = rng.uniform(0, 2 * np.pi)
        ramp = np.cos(angle) * (t[None, :] - 0.5) + np.sin(angle) * (t[:, None] - 0.5) + 0.5
        pixels = _blend(colours[0], colours[1], ramp.clip(0, 1))
    elif kind == 2:
        coarse = rng.uniform(0, 1, (4, 4)).astype(np.float32)
        cloud = Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC)
        pixels = _blend(colours[0], colours[1], np.asarray(cloud).clip(0, 1))
    elif kind == 3:
        horizon = rng.uniform(0.45, 0.8)
        sky = _blend(colours[0], colours[0] * 0.5 + 127, np.repeat(t[:, None], size, 1))
        land = _blend(colours[1], colours[1] * 0.7, np.repeat(t[:, None], size, 1))
        pixels = np.where((t[:, None] > horizon)[..., None], land, sky)
    else:
        period, phase = rng.uniform(10, 24), rng.uniform(0, 6.28)
        axis = t[:, None] if rng.random() < 0.5 else t[None, :]
        wave = 0.5 + 0.5 * np.sin(2 * np.pi * size / period * axis + phase)
        pixels = _blend(colours[0], colours[0] * 0.8 + colours[1] * 0.2, wave + 0 * t[:, None] * t)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def _blend(first: np.ndarray, second: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Mix two colours (3,) by a fraction per pixel (S, S) into (S, S, 3)."""
    return np.asarray(first + (second - first) * share[..., None])


def paste(
    canvas: Image.Image,
    sprite: Image.Image,
    extent: float,
    centre: tuple[float, float],
    rng: np.random.Generator,
    turn: float = 12.0,
) -> None:
    """Paste a sprite whose longer side is `extent` of the canvas; it may be cut by the edge."""
    side = extent * canvas.width
    scale = side / max(sprite.size)
    width, height = (max(3, round(length * scale)) for length in sprite.size)
    drawn = sprite.resize((width, height), Image.Resampling.BOX if scale < 0.5 else
                          Image.Resampling.BILINEAR)  # fmt: skip
    if rng.random() < 0.5:
        drawn = drawn.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if turn and rng.random() < 0.5:
        drawn = drawn.rotate(rng.uniform(-turn, turn), Image.Resampling.BILINEAR, expand=True)
    x = round(centre[0] * canvas.width - drawn.width / 2)
    y = round(centre[1] * canvas.height - drawn.height / 2)
    canvas.paste(drawn, (x, y), drawn)


class World:
    """Composes scenes from artwork.

    Args:
        artwork: the drawings.
        vendors: whose drawings are used; by default all but the held-out vendor's.
    """

    def __init__(self, artwork: Artwork, vendors: tuple[str, ...] = SEEN_VENDORS) -> None:
        self.artwork = artwork
        self.vendors = vendors
        drawn = set(artwork.concepts("id", "context", vendors=vendors))
        self.classes = tuple(name for name in IN_DISTRIBUTION if name in drawn)
        self.context = tuple(name for name in CONTEXT if name in drawn)
        self.painted = self.classes + self.context
        self.subjects = np.array(artwork.concepts(
            "id", "context", "near-natural", "near-made", "validation-near", "validation-far",
            "none", vendors=vendors,
        ))  # fmt: skip

    def drawing(self, concept: str, rng: np.random.Generator) -> Image.Image:
        """Return a random drawing of `concept`."""
        drawings = self.artwork.drawings(concept, self.vendors)
        return drawings[rng.integers(len(drawings))]

    def scene(self, subject: str, rng: np.random.Generator, size: int = SIZE) -> Scene:
        """Compose one large subject before zero to two smaller context objects."""
        canvas = background(rng, size)
        count = rng.choice(3, p=[0.1, 0.55, 0.35])
        context = [str(name) for name in rng.choice(self.context, count, replace=False)]
        corners = [(0.2, 0.24), (0.8, 0.24), (0.2, 0.78), (0.8, 0.78)]
        spots = rng.permutation(len(corners))
        extent = rng.uniform(0.55, 0.78)
        for name, spot in zip(context, spots, strict=False):
            x, y = np.asarray(corners[spot]) + rng.uniform(-0.05, 0.05, 2)
            paste(canvas, self.drawing(name, rng), rng.uniform(0.3, 0.42), (x, y), rng)
        centre = (0.5 + rng.uniform(-0.1, 0.1), 0.52 + rng.uniform(-0.1, 0.1))
        paste(canvas, self.drawing(subject, rng), extent, centre, rng)
        return Scene(np.asarray(canvas), (subject, *context))

    def empty(self, rng: np.random.Generator) -> np.ndarray:
        """Draw a scene without a subject: uint8 (64, 64, 3)."""
        return np.asarray(background(rng))

    def single(self, picture: Image.Image, rng: np.random.Generator) -> np.ndarray:
        """Show a photographed thing as it is: uint8 (64, 64, 3)."""
        return np.asarray(picture.convert("RGB").resize((SIZE, SIZE)))

    def texture(self, picture: Image.Image, rng: np.random.Generator) -> np.ndarray:
        """Show a picture of 64 x 64 pixels as it is: uint8 (64, 64, 3)."""
        return np.asarray(picture.convert("RGB"))

    def still(self, names: list[str], rng: np.random.Generator, size: int = SIZE) -> Scene:
        """Compose one or two things of like size side by side: what the painter learns."""
        canvas = background(rng, size)
        if len(names) == 1:
            places, extent = [(0.5, 0.5)], rng.uniform(0.65, 0.85)
        else:
            places, extent = [(0.28, 0.42), (0.72, 0.58)], rng.uniform(0.45, 0.55)
        for name, place in zip(names, places, strict=True):
            x, y = np.asarray(place) + rng.uniform(-0.05, 0.05, 2)
            paste(canvas, self.drawing(name, rng), extent, (x, y), rng, turn=0.0)
        return Scene(np.asarray(canvas), tuple(names))

    def painter_batch(self, rng: np.random.Generator, n: int) -> tuple[np.ndarray, list[str]]:
        """Return n stills with captions: uint8 (n, 64, 64, 3) and one caption each."""
        # prompts name what surrounds a subject, so the painter learns that best
        shares = np.array([0.25 / len(self.classes)] * len(self.classes)
                          + [0.75 / len(self.context)] * len(self.context))  # fmt: skip
        scenes = []
        for _ in range(n):
            count = 1 + int(rng.random() < 0.5)
            names = [str(name) for name in rng.choice(self.painted, count, False, shares)]
            scenes.append(self.still(names, rng))
        return np.stack([scene.image for scene in scenes]), [caption(s.names, rng) for s in scenes]

    def scene_batch(self, rng: np.random.Generator, n: int) -> tuple[np.ndarray, list[str]]:
        """Return n scenes of any concept with captions, as `painter_batch` does."""
        subjects = rng.choice(self.subjects, n)
        scenes = [self.scene(str(subject), rng) for subject in subjects]
        return np.stack([scene.image for scene in scenes]), [caption(s.names, rng) for s in scenes]

    def painter_captions(self) -> list[str]:
        """Return every form of caption over every name: all words the painter must know."""
        return [form.format(spoken(name)) for form in CAPTION_FORMS for name in self.painted]


def caption(names: tuple[str, ...], rng: np.random.Generator) -> str:
    """Say what is in a scene, in one of several forms."""
    joiner = ", " if rng.random() < 0.6 else " and "
    things = joiner.join(spoken(name) for name in names)
    return CAPTION_FORMS[rng.integers(len(CAPTION_FORMS))].format(things)
