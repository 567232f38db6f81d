"""What every in-painting model with a latent space has in common: images <-> latents, and noise."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch

from synood.errors import InputError
from synood.models._levels import check_known

if TYPE_CHECKING:
    from collections.abc import Sequence

    from synood.models._autoencoder import Autoencoder
    from synood.models._chat_prompting import ChatPromptEncoder
    from synood.models._diffusers_layout import Layout
    from synood.models._prompting import PromptEncoder
    from synood.models.denoising import Steer


class LatentInpainter(ABC):
    """Encode, noise, denoise and decode: what guided in-painting asks of a model.

    Each image has its own random generator and each call its own copy of the scheduler, so the
    result for an image does not depend on its batch (to rounding). Latents are in single precision,
    or double where the model is.
    """

    _prompter: PromptEncoder | ChatPromptEncoder

    def __init__(
        self,
        *,
        network: Any,  # noqa: ANN401 - diffusers is untyped here
        autoencoder: Autoencoder,
        prompter: PromptEncoder | ChatPromptEncoder,
        scheduler: Any,  # noqa: ANN401
        layout: Layout,
        side: int,
    ) -> None:
        self._network, self._prompter, self._layout = network, prompter, layout
        self._autoencoder, self._scheduler = autoencoder, scheduler
        self._latent_shape = (autoencoder.channels, side, side)
        self.device = autoencoder.device
        self.image_size: int = side * autoencoder.shrinks_by

    @cached_property
    def fingerprint(self) -> str:
        """Sixteen hex digits that change with any part of the model."""
        return self._layout.fingerprint()

    @property
    def precision(self) -> str:
        """The precision of the network that denoises, such as "float32"."""
        return str(self._network.dtype).removeprefix("torch.")

    def check_prompts(self, prompts: Sequence[str]) -> None:
        """Raise an `InputError` naming a prompt that is too long."""
        self._prompter.check(prompts)

    @abstractmethod
    def condition(self, prompts: Sequence[str], generators: Sequence[torch.Generator]) -> Any:  # noqa: ANN401
        """Make, once for all renderings of B images, what they are conditioned on.

        The result has `select(rows)`. Raises an `InputError` naming a prompt that is too long.
        """

    def redrawn(
        self,
        conditioning: Any,  # noqa: ANN401 - what `condition` returns
        rows: Sequence[int],
        generators: Sequence[torch.Generator],
    ) -> Any:  # noqa: ANN401
        """Return the conditioning with what was drawn for it drawn anew at the indices `rows`.

        `generators` are those of these images. Of a model that draws nothing it stays as it is.
        """
        return conditioning

    @abstractmethod
    def denoise(
        self,
        image_latents: torch.Tensor,
        noise: torch.Tensor,
        conditioning: Any,  # noqa: ANN401 - what `condition` returns
        strength: float,
        num_inference_steps: int,
        guidance_scale: float,
        generators: Sequence[torch.Generator] | None = None,
        steer: Steer | None = None,
    ) -> torch.Tensor:
        """Noise the latents to `strength` and denoise them: (B, c, h, w) as `decode` takes them.

        `generators` are for schedulers that draw noise in a step; `steer` changes the clean latents
        that each step predicts.
        """

    def check_steerable(self) -> None:
        """Raise an `InputError` if the scheduler's steps cannot be guided one by one."""
        check_known(self._scheduler)

    @property
    def gradient_bytes(self) -> int:
        """Bytes that one image's gradient through the decoder takes without recomputing."""
        return int(self._autoencoder.bytes_per_cell * self._latent_shape[1] ** 2)

    def encode(self, images: torch.Tensor, generators: Sequence[torch.Generator]) -> torch.Tensor:
        """Draw scaled latents (B, c, h, w) of `images` (B, 3, S, S) in [0, 1].

        They are sampled from the autoencoder's posterior, as in the authors' code, each image with
        its own generator. Raises `InputError` for another size.
        """
        self._refuse_wrong_pixels(images)
        return self._autoencoder.encode(images, lambda: self.draw_noise(generators))

    def draw_noise(self, generators: Sequence[torch.Generator]) -> torch.Tensor:
        """Draw standard normal noise (B, c, h, w), one image from each generator.

        It is drawn on the generator's device in single precision, so it is the same on any device.
        """
        draws = [
            torch.randn(self._latent_shape, generator=generator, device=generator.device)
            for generator in generators
        ]
        return torch.stack(draws).to(device=self.device, dtype=self._autoencoder.dtype)

    def unscaled(self, latents: torch.Tensor) -> torch.Tensor:
        """Convert latents (B, c, h, w) of `encode` to those that `decode` takes."""
        return self._autoencoder.unscaled(latents)

    def decode(self, latents: torch.Tensor, *, recompute: bool = False) -> torch.Tensor:
        """Decode what `denoise` returns to (B, 3, S, S) in [0, 1], differentiable.

        Values outside are clamped, so saturated pixels have no gradient. With `recompute` the
        gradient takes less memory and one more forward pass.
        """
        return self._autoencoder.decode(latents, recompute=recompute)

    def _refuse_wrong_pixels(self, images: torch.Tensor) -> None:
        size = self.image_size
        if images.ndim != 4 or images.shape[1:] != (3, size, size):
            raise InputError(
                f"images of shape {tuple(images.shape)} given, the in-painting model takes "
                f"(B, 3, {size}, {size}); resize them"
            )
        if not (images.is_floating_point() and bool(((images >= 0) & (images <= 1)).all())):
            raise InputError("images must be floating point numbers in [0, 1]; divide bytes by 255")
