"""Which models of transformers the adapters take as encoders, and what differs between them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Family:
    """What is to be known of the models of one `model_type`.

    Attributes:
        model: class of transformers with `get_image_features` and `get_text_features`.
        tokens: length of the longest text in training; None: as many as the tower has positions.
        reads_end: a text's feature is read at its end token.
        legacy_end: an `eos_token_id` of 2 in the configuration stands for the largest id.
        first_position: how many positions the text tower leaves unused.
        is_temperature: the cosines are divided by `temperature`, in place of a `logit_scale`.
        any_size: the image tower takes images of other sizes than its configuration's.
    """

    model: str
    tokens: int | None = None
    reads_end: bool = False
    legacy_end: bool = False
    first_position: int = 0
    is_temperature: bool = False
    any_size: bool = False

    @property
    def scale_tensor(self) -> str:
        """Name of the weight that holds the scale of the cosines."""
        return "temperature" if self.is_temperature else "logit_scale"


# Lengths: ALIGN's and TIPSv2's from their processors, AltCLIP's from FlagAI's `context_length`,
# Chinese-CLIP's from OFA-Sys's `context_length`.
FAMILIES = {
    "align": Family("AlignModel", tokens=64, is_temperature=True, any_size=True),
    "altclip": Family("AltCLIPModel", tokens=77, first_position=2),
    "blip": Family("BlipModel"),
    "chinese_clip": Family("ChineseCLIPModel", tokens=52),
    "clipseg": Family("CLIPSegModel", reads_end=True, legacy_end=True, any_size=True),
    "metaclip_2": Family("MetaClip2Model", reads_end=True),
    "siglip2": Family("Siglip2Model"),
    "tipsv2": Family("Tipsv2Model", tokens=64, is_temperature=True, any_size=True),
}
NAFLEX = "siglip2"  # SigLIP 2 of a fixed size has the `model_type` of SigLIP

REFUSED = {
    "blip-2": (
        "BLIP-2 gives an image many features, of which each text is compared with the best, where "
        "one feature an image is needed; choose CLIP, SigLIP or another of docs/models.md"
    ),
    "videoprism": (
        "VideoPrism reads videos, not images; choose CLIP, SigLIP or another of docs/models.md"
    ),
    "vit_mae": "a masked autoencoder hides three quarters of an image at random; choose DINOv2",
}
"""Models that look like encoders, and why they cannot work."""


def family_of(config: Mapping[str, Any]) -> Family | None:
    """Return the family that a checkpoint's `config.json` is of; None for another model.

    >>> family_of({"model_type": "metaclip_2"}).model
    'MetaClip2Model'
    """
    return FAMILIES.get(str(config.get("model_type")))


Pooling: TypeAlias = Literal["pooled", "first", "mean"]


@dataclass(frozen=True)
class VisionFamily:
    """How an image's feature is read from a model of images alone: as its authors do.

    Attributes:
        pooling: the model's own pooled output, its first token (the class token) or the mean of
            its tokens.
        any_size: the model takes images of other sizes than its configuration's.
        drops_pooler: it has a pooler that is not read, and need not have weights.
    """

    pooling: Pooling
    any_size: bool = True
    drops_pooler: bool = False


_POOLED, _POOLED_FIXED = VisionFamily("pooled"), VisionFamily("pooled", any_size=False)
_VIT = VisionFamily("first", any_size=False, drops_pooler=True)

# DINO, DINOv2 and DINOv3 are judged by neighbours and linear heads on the normalised class token,
# which DINOv2's and DINOv3's pooled output is. A ViT's own pooler is not: it belongs to a task of
# its pretraining, or to none and holds random numbers; its classifiers read the class token.
VISION = {
    "beit": _POOLED_FIXED,
    "bit": _POOLED,
    "clip_vision_model": _POOLED_FIXED,
    "convnext": _POOLED,
    "convnextv2": _POOLED,
    "deit": _VIT,
    "dinov2": _POOLED,
    "dinov2_with_registers": _POOLED,
    "dinov3_convnext": _POOLED,
    "dinov3_vit": _POOLED,
    "efficientnet": _POOLED,
    "hiera": _POOLED_FIXED,
    "ijepa": VisionFamily("mean", any_size=False),
    "regnet": _POOLED,
    "resnet": _POOLED,
    "siglip_vision_model": _POOLED_FIXED,
    "swin": _POOLED,
    "swinv2": _POOLED,
    "tipsv2_vision_model": _POOLED,
    "vit": _VIT,
    "vit_msn": VisionFamily("first", any_size=False),
}


def vision_family_of(config: Mapping[str, Any]) -> VisionFamily | None:
    """Return how a model of images alone is read; None for another model.

    >>> vision_family_of({"model_type": "dinov2"}).pooling
    'pooled'
    """
    return VISION.get(str(config.get("model_type")))


def no_texts(name: str) -> str:
    """Say that an encoder reads no texts, and what can be done."""
    return (
        f"encoder {name!r}: reads images alone, so there is nothing to compare class names with; "
        "make a detector from images (`synood fit`), or choose an encoder of docs/models.md that "
        "reads texts too"
    )
