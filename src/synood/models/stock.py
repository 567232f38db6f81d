"""The in-painting pipeline of diffusers itself, for comparisons with ours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from synood.models.checkpoints import load_part

if TYPE_CHECKING:
    from synood.models.bundles import Bundle


def stock_pipeline(bundle: Bundle) -> Any:  # noqa: ANN401 - diffusers is untyped here
    """Load a bundle's own in-painting model as the pipeline of diffusers, in single precision."""
    import diffusers
    import torch
    from diffusers.utils import logging as bars

    assert bundle.root is not None
    place = bundle.root / bundle.spec["inpainter"]["path"]
    bars.disable_progress_bar()
    try:
        pipeline = load_part(
            diffusers.StableDiffusionInpaintPipeline.from_pretrained, place, dtype=torch.float32
        )
    finally:
        bars.enable_progress_bar()
    pipeline.set_progress_bar_config(disable=True)
    return pipeline
