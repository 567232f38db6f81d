"""Any image classifier of timm, which needs torchvision: the extra `timm`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from synood.errors import InputError
from synood.models._pixels import PixelPreprocess
from synood.models.checkpoints import (
    checkpoint_fingerprint,
    import_optional,
    load_folder,
    load_part,
)
from synood.models.classifier import TransformersClassifier

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

FILES = ("config.json", "model.safetensors")


class TimmClassifier(TransformersClassifier):
    """A directory or hub id in timm's layout: `config.json` and `model.safetensors`.

    >>> TimmClassifier.from_pretrained("timm/resnet50.a1_in1k").class_names[0]  # doctest: +SKIP
    'tench'
    """

    @classmethod
    def from_pretrained(
        cls, path_or_id: str | Path, device: str = "cpu", revision: str | None = None
    ) -> TimmClassifier:
        """Load a directory or a hub id; safetensors only.

        Raises `InputError` if timm cannot be imported or the preprocessing is not supported.
        """
        library = import_optional("timm", "timm")
        folder = load_folder(path_or_id, FILES, revision)
        model = load_part(library.create_model, f"local-dir:{folder}", pretrained=True)
        steps = preprocess_of(library.data.resolve_model_data_config(model), str(path_or_id))
        names = _class_names(library, model, path_or_id)
        model = model.to(device).float().requires_grad_(False).eval()
        return cls(model, steps, names, checkpoint_fingerprint(path_or_id, revision=revision))

    def _logits_of(self, inputs: Tensor) -> Tensor:
        logits: Tensor = self._model(inputs)
        return logits


def preprocess_of(settings: Mapping[str, Any], source: str) -> PixelPreprocess:
    """Read timm's data configuration; an unsupported `crop_mode` or filter is an `InputError`.

    >>> preprocess_of({"input_size": (3, 224, 224), "crop_pct": 0.875, "crop_mode": "center",
    ...     "interpolation": "bicubic", "mean": (0.5,) * 3, "std": (0.5,) * 3}, "x").resize
    256
    """
    height, width = settings["input_size"][1:]
    mode, filter_ = settings["crop_mode"], settings["interpolation"]
    known = mode == "squash" or (mode == "center" and height == width)
    if not known or filter_ not in ("bilinear", "bicubic"):
        raise InputError(
            f"{source}: crop_mode {mode!r} to {height} x {width} pixels and {filter_!r} resizing "
            "are not supported; use another classifier"
        )
    rows, columns = (math.floor(side / settings["crop_pct"]) for side in (height, width))
    return PixelPreprocess(
        resize=(rows, columns) if mode == "squash" else rows,
        crop=(height, width),
        interpolation=filter_,
        mean=tuple(settings["mean"]),
        std=tuple(settings["std"]),
    )


def _class_names(library: Any, model: Any, source: str | Path) -> list[str]:  # noqa: ANN401
    """Return the checkpoint's own names, else those of its ImageNet subset."""
    stated = model.pretrained_cfg.get("label_names")
    if stated:
        return [str(name) for name in stated]
    subset = library.data.infer_imagenet_subset(model)
    if subset is None:
        raise InputError(f"{source}/config.json: has no label_names; add them")
    known = library.data.ImageNetInfo(subset)
    return [known.index_to_description(index) for index in range(model.num_classes)]
