"""The autoencoder of a latent diffusion model: images <-> latents, and its gradient's memory."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

_PIXELS_AT_ONCE = 2**20  # encoded together: a batch of small images, or one of 1024 x 1024
_PROBE = 16  # side of the latent at which `bytes_per_cell` is measured


class Autoencoder:
    """An AutoencoderKL of diffusers with frozen weights.

    It computes in at least single precision, whatever the U-Net does, since gradients pass through
    it; so one that overflows in half precision (`force_upcast`) is safe too.
    """

    def __init__(self, vae: Any) -> None:  # noqa: ANN401 - diffusers is untyped here
        self._vae = vae
        self.device: torch.device = vae.device
        self.dtype: torch.dtype = vae.dtype
        self.channels: int = vae.config.latent_channels
        self.shrinks_by: int = 2 ** (len(vae.config.block_out_channels) - 1)
        self._mean, self._scale = _latent_statistics(vae)

    @torch.no_grad()
    def encode(self, images: torch.Tensor, draw: Callable[[], torch.Tensor]) -> torch.Tensor:
        """Sample scaled latents (B, c, h, w) from the posterior of images (B, 3, S, S).

        `draw` returns standard normal noise (B, c, h, w); a single image is broadcast to it.
        """
        at_once = max(1, _PIXELS_AT_ONCE // images[0, 0].numel())
        moments = [
            (posterior.mean, posterior.std)
            for some in torch.split(images, at_once)
            for posterior in [self._vae.encode(self._pixels(some)).latent_dist]
        ]
        mean, deviation = (torch.cat(parts) for parts in zip(*moments, strict=True))
        return (mean + deviation * draw() - self._mean) * self._scale

    def unscaled(self, latents: torch.Tensor) -> torch.Tensor:
        """Turn scaled latents (B, c, h, w) into what `decode` takes."""
        return latents / self._scale + self._mean

    def decode(self, latents: torch.Tensor, *, recompute: bool = False) -> torch.Tensor:
        """Decode to (B, 3, S, S) in [0, 1], differentiable; values outside are clamped.

        With `recompute` the backward pass stores only the blocks' inputs and recomputes the rest
        (gradient checkpointing): the same numbers, less memory, one more forward pass.
        """
        if recompute:
            self._vae.enable_gradient_checkpointing()
        else:
            self._vae.disable_gradient_checkpointing()
        decoded: torch.Tensor = self._vae.decode(latents, return_dict=False)[0]
        return (decoded / 2 + 0.5).clamp(0, 1)

    @cached_property
    def bytes_per_cell(self) -> float:
        """Bytes that a gradient through the decoder takes without recomputing, per latent cell.

        Measured once on a small latent; the activations that are kept grow with its area.
        """
        weights = {weight.data_ptr() for weight in self._vae.parameters()}
        kept: dict[int, int] = {}

        def note(tensor: torch.Tensor) -> torch.Tensor:
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in weights:
                kept[storage.data_ptr()] = storage.nbytes()
            return tensor

        shape = (1, self.channels, _PROBE, _PROBE)
        latents = torch.zeros(shape, device=self.device, dtype=self.dtype, requires_grad=True)
        with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(note, lambda kept: kept):
            self.decode(latents)
        return sum(kept.values()) / _PROBE**2

    def _pixels(self, images: torch.Tensor) -> torch.Tensor:
        return images.to(device=self.device, dtype=self.dtype) * 2 - 1


def _latent_statistics(vae: Any) -> tuple[torch.Tensor, torch.Tensor]:  # noqa: ANN401
    """Return mean and scale, (1, c or 1, 1, 1): the U-Net was trained on (latent - mean) * scale.

    Newer autoencoders have a mean and deviation per channel, others the factor alone.
    """
    config = vae.config
    mean = getattr(config, "latents_mean", None) or [getattr(config, "shift_factor", None) or 0.0]
    deviation = getattr(config, "latents_std", None) or [1.0]
    shape = {"device": vae.device, "dtype": vae.dtype}
    scale = config.scaling_factor / torch.tensor(deviation, **shape)
    return torch.tensor(mean, **shape).view(1, -1, 1, 1), scale.view(1, -1, 1, 1)
