"""A checkpoint's image processor, as transformers would complete it -> a `Preprocess`.

A `preprocessor_config.json` leaves out what its processor's class presumes. Those defaults are read
from transformers' class on Pillow; the two that exist on torchvision alone stand here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from synood.errors import CheckpointError
from synood.images.presets import from_processor_config
from synood.models.checkpoints import load_part

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from synood.images.presets import Preprocess

_IMAGENET = {"image_mean": (0.485, 0.456, 0.406), "image_std": (0.229, 0.224, 0.225)}
_ON_TORCHVISION: dict[str, dict[str, Any]] = {
    "DINOv3ViTImageProcessor": {
        "size": {"height": 224, "width": 224}, "resample": 2, "do_center_crop": False, **_IMAGENET,
    },
    "Tipsv2ImageProcessor": {
        "size": {"height": 448, "width": 448}, "resample": 2, "do_center_crop": False,
        "do_normalize": False,
    },
}  # fmt: skip
_FIELDS = (
    *("size", "crop_size", "crop_pct", "resample", "do_resize", "do_center_crop", "do_pad"),
    *("do_rescale", "rescale_factor", "rescale_offset", "do_normalize", "include_top"),
    *("image_mean", "image_std", "do_flip_channel_order"),
)


def load_preprocess(source: str | Path, revision: str | None = None) -> Preprocess:
    """Read the preprocessing of a transformers checkpoint, new or old layout."""
    return from_processor_config(
        read_processor(source, revision), f"{source}/preprocessor_config.json"
    )


def check_image_size(config: Any, preprocess: Preprocess, source: str | Path) -> None:  # noqa: ANN401
    """Refuse a preprocessing to another size than a model's configuration states."""
    size = getattr(config, "image_size", None)
    if size not in (None, preprocess.size, [preprocess.size] * 2):
        raise CheckpointError(
            f"{source}: its image tower takes {size} pixels and its preprocessor_config.json makes "
            f"{preprocess.size}; they are of different models"
        )


def read_processor(source: str | Path, revision: str | None = None) -> dict[str, Any]:
    """Return the settings of a checkpoint's image processor, completed by those of its class."""
    from transformers.image_processing_base import ImageProcessingMixin

    read = ImageProcessingMixin.get_image_processor_dict
    config, _ = load_part(read, source, revision=revision)
    defaults = _defaults(processor_type(config))
    if not config.get("do_center_crop", defaults.get("do_center_crop")):
        defaults.pop("crop_size", None)
    return {**defaults, **{name: value for name, value in config.items() if value is not None}}


def processor_type(config: Mapping[str, Any]) -> str:
    """Return the name of the image processor that a file is for; "" where it names none.

    >>> processor_type({"feature_extractor_type": "CLIPFeatureExtractor"})
    'CLIPImageProcessor'
    """
    named = config.get("image_processor_type") or config.get("feature_extractor_type") or ""
    return str(named).removesuffix("Fast").replace("FeatureExtractor", "ImageProcessor")


def _defaults(kind: str) -> dict[str, Any]:
    """Return what a processor's class presumes; nothing for one that is not known."""
    import transformers

    if kind in _ON_TORCHVISION:
        return dict(_ON_TORCHVISION[kind])
    on_pillow = getattr(transformers, f"{kind}Pil", None) if kind else None
    found = {name: getattr(on_pillow, name, None) for name in _FIELDS}
    return {name: value for name, value in found.items() if value is not None}
