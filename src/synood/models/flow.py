"""FlowInpainter: a flow-matching transformer (Z-Image) as an in-painting model.

A sample is x_s = (1 - s) x0 + s e, the network predicts the velocity v = e - x0, and denoising
starts at the level s of the schedule that `strength` leaves. The mask is one everywhere, as
elsewhere, so the in-painting pipeline of diffusers does the same as img2img: the source enters only
through the noised latent.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch

from synood.errors import InputError
from synood.files import fingerprint
from synood.models._autoencoder import Autoencoder
from synood.models._chat_prompting import ChatPromptEncoder
from synood.models._diffusers_layout import (
    check_flow_fit,
    load_flow_scheduler,
    read_layout,
)
from synood.models.checkpoints import load_model
from synood.models.denoising import walked
from synood.models.latents import LatentInpainter
from synood.models.precision import chosen_dtype

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from synood.models.denoising import Steer

SIZE = 512  # pixels a side: the paper's; the model itself takes many
PATCH = 2  # latent cells a side of a token


@dataclass(frozen=True)
class FlowConditioning:
    """Embedded prompts, each (L, D) with a length of its own, and the empty one."""

    prompted: list[torch.Tensor]
    empty: torch.Tensor

    def select(self, keep: Sequence[int]) -> FlowConditioning:
        """Return the conditioning of the images at the indices `keep`."""
        return replace(self, prompted=[self.prompted[row] for row in keep])


class FlowInpainter(LatentInpainter):
    """Z-Image at a size of one's choice; the transformer and its language model are in `dtype`."""

    _prompter: ChatPromptEncoder

    @classmethod
    def from_pretrained(
        cls,
        path_or_id: str | Path,
        device: str = "cpu",
        dtype: str | torch.dtype = "auto",
        revision: str | None = None,
        size: int = SIZE,
    ) -> FlowInpainter:
        """Load a directory or hub id in the layout of diffusers, with a model_index.json.

        `size` is that of the images in pixels. Raises `InputError` for a size that the model does
        not take, and `CheckpointError` when a part is missing or does not fit the others.
        """
        import diffusers

        dtype = chosen_dtype(dtype, device)
        layout = read_layout(path_or_id, revision)
        exact = torch.float32 if dtype in (torch.float16, torch.bfloat16) else dtype
        at: dict[str, Any] = {"source": path_or_id, "revision": revision}
        model: dict[str, Any] = {**at, "device": device, "low_cpu_mem_usage": False}
        vae = load_model(diffusers.AutoencoderKL, subfolder="vae", torch_dtype=exact, **model)
        autoencoder = Autoencoder(vae)
        multiple = PATCH * autoencoder.shrinks_by
        if size < multiple or size % multiple:
            raise InputError(
                f"inpainter.size: {size} is not a multiple of {multiple}, as {path_or_id} needs"
            )
        prompter = ChatPromptEncoder.from_pretrained(layout, device, dtype)
        transformer = load_model(
            diffusers.ZImageTransformer2DModel, subfolder="transformer", torch_dtype=dtype, **model
        )
        check_flow_fit(path_or_id, transformer, autoencoder, prompter.width)
        return cls(
            network=transformer,
            autoencoder=autoencoder,
            prompter=prompter,
            scheduler=load_flow_scheduler(path_or_id, revision),
            layout=layout,
            side=size // autoencoder.shrinks_by,
        )

    @cached_property
    def fingerprint(self) -> str:
        """Sixteen hex digits that change with any part of the model and with the size."""
        return fingerprint(self._layout.fingerprint(), self.image_size)

    def condition(
        self, prompts: Sequence[str], generators: Sequence[torch.Generator]
    ) -> FlowConditioning:
        """Embed B prompts and the empty one; nothing is drawn, since no masked image is seen."""
        return FlowConditioning(self._prompter.embed(prompts), self._prompter.embed([""])[0])

    @torch.no_grad()
    def denoise(
        self,
        image_latents: torch.Tensor,
        noise: torch.Tensor,
        conditioning: FlowConditioning,
        strength: float,
        num_inference_steps: int,
        guidance_scale: float,
        generators: Sequence[torch.Generator] | None = None,
        steer: Steer | None = None,
    ) -> torch.Tensor:
        """Noise the latents to `strength` and denoise them: (B, c, h, w) as `decode` takes them.

        As in diffusers, the steps begin at number int(num_inference_steps * (1 - strength)), and
        guidance is off at a `guidance_scale` of 0, the value of a distilled model: the velocity is
        v + guidance_scale (v - v without a prompt). `steer` as in `LatentInpainter.denoise`.
        """
        scheduler = copy.deepcopy(self._scheduler)
        timesteps = self._timesteps(scheduler, num_inference_steps, strength)
        start = timesteps[:1].repeat(len(noise))
        latents = scheduler.scale_noise(image_latents, start, noise)
        velocity = _GuidedTransformer(self._network, conditioning, guidance_scale)
        return self.unscaled(walked(velocity, scheduler, timesteps, latents, generators, steer))

    def _timesteps(self, scheduler: Any, steps: int, strength: float) -> torch.Tensor:  # noqa: ANN401
        """Set up `scheduler`, as ZImageInpaintPipeline does; return the timesteps that are left."""
        skipped = int(steps - steps * strength)
        if not (0 < strength <= 1 and steps > skipped):
            raise InputError(
                f"strength {strength} of {steps} steps leaves none; strength lies in (0, 1] and "
                "num_inference_steps must be at least 1"
            )
        levels = torch.linspace(1.0, 1 / steps, steps).tolist()
        scheduler.set_timesteps(sigmas=levels, mu=self._shift(scheduler.config), device=self.device)
        scheduler.set_begin_index(skipped)
        timesteps: torch.Tensor = scheduler.timesteps[skipped:]
        return timesteps

    def _shift(self, config: Any) -> float:  # noqa: ANN401 - of a scheduler that shifts by size
        """Return where the number of tokens lies between the smallest and the largest image."""
        tokens = (self._latent_shape[1] // PATCH) ** 2
        least, most = config.get("base_image_seq_len", 256), config.get("max_image_seq_len", 4096)
        low, high = config.get("base_shift", 0.5), config.get("max_shift", 1.15)
        return float(low + (high - low) * (tokens - least) / (most - least))


class _GuidedTransformer:
    """The velocity e - x0 of each sample, with guidance away from the empty prompt."""

    def __init__(self, transformer: Any, conditioning: FlowConditioning, scale: float) -> None:  # noqa: ANN401
        self._transformer, self._scale = transformer, scale
        self._prompted = conditioning.prompted
        self._empty = [conditioning.empty] * len(conditioning.prompted) if scale > 0 else []

    def __call__(self, sample: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
        text = [*self._prompted, *self._empty]
        copies = len(text) // len(self._prompted)
        inputs = sample.to(self._transformer.dtype).repeat(copies, 1, 1, 1).unsqueeze(2)
        clean_share = ((1000 - step) / 1000).repeat(len(text))  # 0 is noise, 1 the image
        outputs = self._transformer([*inputs], clean_share, text, return_dict=False)[0]
        velocities = -torch.stack([*outputs]).to(sample.dtype).squeeze(2)
        if copies == 1:
            return velocities
        prompted, empty = velocities.chunk(2)
        return prompted + self._scale * (prompted - empty)
