"""In-painting models that are distilled for few steps, as recipe fields: read without loading them.

With the paper's 20 steps and guidance scale 8 such a model paints burnt images or, at best, takes
five times as long as it need.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from synood.errors import InputError
from synood.files import read_json
from synood.models._diffusers_layout import Layout
from synood.models.checkpoints import load_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

STEPS, SCALE = "guidance.num_inference_steps", "guidance.guidance_scale"
# Z-Image-Turbo's card: 8 steps, no guidance
_FLOW = {STEPS: 8, SCALE: 0.0}
# latent consistency: the scale is an input of the U-Net, so that the paper's stays
_CONSISTENCY = {STEPS: 8}
# the same as a LoRA that was merged: its U-Net knows no scale; guidance of 1 to 2, says its card
_MERGED_CONSISTENCY = {STEPS: 8, SCALE: 1.0}
_TURBO = {STEPS: 4, SCALE: 0.0}  # the cards of SD-Turbo and SDXL-Turbo: 1 to 4 steps, no guidance
_PLAIN_IDS = {
    "sd2-community/stable-diffusion-2-inpainting",
    "diffusers/stable-diffusion-xl-1.0-inpainting-0.1",
}  # known not to be distilled: no file is asked for


def recipe_defaults(source: str | Path, revision: str | None = None) -> dict[str, float]:
    """Return the recipe fields that suit an in-painting checkpoint; none for the usual many steps.

    A checkpoint of the hub that is neither cached nor within reach has none either: loading it
    will say so.
    """
    if str(source) in _PLAIN_IDS:
        return {}
    try:
        index = _read(source, "model_index.json", revision)
        if Layout(source, revision, index).is_flow:
            return dict(_FLOW)
        schedule = _read(source, "scheduler/scheduler_config.json", revision)
        unet = _read(source, "unet/config.json", revision)
    except InputError:
        return {}
    if unet.get("time_cond_proj_dim") is not None:
        return dict(_CONSISTENCY)
    if schedule.get("_class_name") == "LCMScheduler":
        return dict(_MERGED_CONSISTENCY)
    return dict(_TURBO) if _is_turbo(schedule) else {}


def _is_turbo(schedule: Mapping[str, Any]) -> bool:
    """Whether a schedule is that of SD-Turbo or SDXL-Turbo: Euler's, from pure noise downwards.

    Other models with trailing timesteps predict velocities, or their schedule ends in pure noise.
    """
    return (
        str(schedule.get("_class_name", "")).startswith("Euler")
        and schedule.get("timestep_spacing") == "trailing"
        and schedule.get("prediction_type", "epsilon") == "epsilon"
        and not schedule.get("rescale_betas_zero_snr")
    )


def _read(source: str | Path, name: str, revision: str | None) -> dict[str, Any]:
    found = read_json(load_file(source, name, revision))
    return found if isinstance(found, dict) else {}
