"""Images that stand in for the synthetic ones, to show what the synthesis itself is worth.

A gain that a control brings as well is not due to the guided painting: jigsaws keep colours and
textures and destroy the thing; a trip through the autoencoder changes nothing but its artefacts;
unguided in-painting does all but follow the classifier's gradient.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from synood.benchmark.protocol.encoding import image_logits
from synood.benchmark.protocol.methods import SYNOOD, Method
from synood.errors import InputError
from synood.files import fingerprint
from synood.images.decoding import read_image
from synood.pipeline.stages.painting import Painter
from synood.pipeline.stages.target import square

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import torch
    from numpy.typing import NDArray

    from synood.features.unreadable import Unreadable
    from synood.models.guide import Guide
    from synood.models.inpainting import Inpainter
    from synood.models.loaded import Models
    from synood.pipeline.rundir.shards import Order
    from synood.settings import GuidanceSettings
    from synood.synthesis.guidance import Rendered

    Images = NDArray[np.uint8]  # (B, S, S, 3) or one (S, S, 3)

JIGSAW_GRID = 4  # pieces a side: no piece of a 64 px scene then holds a whole thing
_WITHOUT_PAINTER = tuple(need for need in SYNOOD.needs if need != "an in-painting model")

UNGUIDED = Method(
    "unguided",
    "unguided",
    "control: SynOOD's in-painting with step size 0",
    "inductive",
    SYNOOD.needs,
    is_control=True,
)
VAE = Method(
    "vae",
    "VAE round trip",
    "control: the in-distribution images through the in-painting model's autoencoder",
    "inductive",
    SYNOOD.needs,
    is_control=True,
)
JIGSAW = Method(
    "jigsaw",
    "jigsaw",
    f"control: the in-distribution images with {JIGSAW_GRID} x {JIGSAW_GRID} pieces shuffled",
    "inductive",
    _WITHOUT_PAINTER,
    is_control=True,
)
CONTROLS = (UNGUIDED, VAE, JIGSAW)
NEG_IMAGE = Method(
    "neg-image",
    "Neg Image",
    "SynOOD's table 4: text-to-image from the negative label alone",
    "inductive",
    SYNOOD.needs,
    is_control=True,
)


class ControlSynthesizer:
    """Paints the controls' images with the models and settings of the run they stand beside."""

    def __init__(
        self,
        models: Models,
        guide: Guide,
        guidance: GuidanceSettings,
        batch_size: int,
    ) -> None:
        self._models = models
        self.guide = guide
        self.guidance = guidance
        self.batch_size = batch_size

    @property
    def inpainter(self) -> Inpainter:
        """The in-painting model, loaded when something is to be painted."""
        return self._models.inpainter

    def painter(self, control: Method) -> Painter:
        """Return who paints the images of `control`, one of `CONTROLS` or `NEG_IMAGE`."""
        if control in (UNGUIDED, NEG_IMAGE):
            unguided = replace(self.guidance, step_size=0.0, rounds=1)
            if control == NEG_IMAGE:  # at full strength nothing of the source is left
                whole = replace(unguided, strength=1.0)
                return _Labeller(self.inpainter, self.guide, whole, self.batch_size)
            return Painter(self.inpainter, self.guide, unguided, self.batch_size)
        return _Changer(self, self._round_trip if control == VAE else _jigsaws)

    def _round_trip(self, images: Images, seeds: Sequence[int]) -> Images:
        import torch

        pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
        decoded = round_trip(self.inpainter, pixels, seeds)
        changed: Images = (decoded * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
        return changed


class _Labeller(Painter):
    """Paints negative labels, which nobody has chosen to fit the painter's text tower."""

    def check_prompts(self, prompts: Sequence[str]) -> None:
        """Nothing to check: what is too long is cut."""

    def paint(self, orders: Sequence[Order]) -> Sequence[Rendered | Unreadable]:
        """Paint the labels, each without the last words that the text tower cannot take."""
        return super().paint(
            [replace(order, prompt=fitting(self._inpainter, order.prompt)) for order in orders]
        )


def fitting(inpainter: Inpainter, prompt: str) -> str:
    """Return the prompt without as many of its last words as it takes for the text tower.

    One word that is too long by itself loses its last letters.
    """
    while True:
        try:
            inpainter.check_prompts([prompt])
        except InputError:
            shorter, _, _ = prompt.rpartition(" ")
            prompt = shorter or prompt[:-4]
        else:
            return prompt


class _Changer(Painter):
    """Changes each in-distribution image without any prompt."""

    def __init__(
        self, synthesizer: ControlSynthesizer, change: Callable[[Images, Sequence[int]], Images]
    ) -> None:
        super().__init__(
            synthesizer.inpainter, synthesizer.guide, synthesizer.guidance, synthesizer.batch_size
        )
        self._synthesizer = synthesizer
        self._change = change

    def check_prompts(self, prompts: Sequence[str]) -> None:
        """Nothing to check: no prompt is used."""

    def paint(self, orders: Sequence[Order]) -> Sequence[Rendered]:
        """Return the changed images with the energies before and after."""
        from synood.synthesis.guidance import Rendered

        images = np.stack(
            [_square(order, self._synthesizer.inpainter.image_size) for order in orders]
        )
        changed = self._change(images, [order.seed for order in orders])
        before, after = self._energies(images), self._energies(changed)
        return [
            Rendered(image, (), (energy,), source, "control")
            for image, energy, source in zip(changed, after, before, strict=True)
        ]

    def _energies(self, images: Images) -> list[float]:
        import torch

        from synood.synthesis.objectives import ENERGIES

        guidance = self._synthesizer.guidance
        logits = image_logits([Image.fromarray(image) for image in images], self._synthesizer.guide)
        energies = ENERGIES[guidance.objective](torch.from_numpy(logits), guidance.temperature)
        found: list[float] = energies.tolist()
        return found


def control_orders(control: Method, orders: Sequence[Order]) -> list[Order]:
    """The orders of the synthesis, restamped so that the control's images have their own names.

    Prompts and seeds stay, so a control differs from the method in one thing only.
    """
    return [
        replace(order, inputs=fingerprint("control", control.name, JIGSAW_GRID, order.inputs))
        for order in orders
    ]


def as_labels(orders: Sequence[Order], labels: Sequence[str]) -> list[Order]:
    """Put the prompts of negative labels in the place of the orders' own prompts."""
    return [
        replace(order, prompt=label, inputs=fingerprint("label", label, order.inputs))
        for order, label in zip(orders, labels, strict=True)
    ]


def round_trip(inpainter: Inpainter, pixels: torch.Tensor, seeds: Sequence[int]) -> torch.Tensor:
    """Encode and decode images (B, 3, S, S) in [0, 1], each posterior drawn from its own seed."""
    import torch

    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    with torch.no_grad():
        return inpainter.decode(inpainter.unscaled(inpainter.encode(pixels, generators)))


def jigsaw(image: Images, grid: int, seed: int) -> Images:
    """Cut an image (S, S, 3) into grid x grid pieces and put them back in another order.

    The order is drawn from `seed` and is never the original one. A size that `grid` does not
    divide, or a grid of one piece, is an `InputError`.

    >>> jigsaw(np.zeros((64, 64, 3), np.uint8), 4, seed=0).shape
    (64, 64, 3)
    """
    size = len(image)
    if grid < 2 or size % grid:
        raise InputError(f"jigsaw: {grid} pieces a side do not divide {size} pixels")
    piece = size // grid
    pieces = image.reshape(grid, piece, grid, piece, 3).swapaxes(1, 2)
    pieces = pieces.reshape(grid * grid, piece, piece, 3)
    rng = np.random.default_rng(seed)
    order = rng.permutation(grid * grid)
    while (order == np.arange(grid * grid)).all():
        order = rng.permutation(grid * grid)
    shuffled = pieces[order].reshape(grid, grid, piece, piece, 3).swapaxes(1, 2)
    return np.ascontiguousarray(shuffled.reshape(size, size, 3))


def _jigsaws(images: Images, seeds: Sequence[int]) -> Images:
    return np.stack(
        [jigsaw(image, JIGSAW_GRID, seed) for image, seed in zip(images, seeds, strict=True)]
    )


def _square(order: Order, size: int) -> Images:
    """Read an order's source as (size, size, 3), resized as the synthesis does it."""
    pixels = square(read_image(order.source, order.sha256), size)
    return np.ascontiguousarray((255 * pixels).round().astype(np.uint8).transpose(1, 2, 0))
