"""Encoders of images alone, such as DINOv2 and DINOv3, for image evidence where there are no texts.

Nothing is compared with class names or negative labels: a detector with such an encoder scores by
what the images of the classes look like (`detector.evidence`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from synood.errors import CheckpointError, InputError
from synood.images.presets import from_processor_config
from synood.models.checkpoints import load_model
from synood.models.families import no_texts, vision_family_of
from synood.models.image_processors import check_image_size, processor_type, read_processor
from synood.models.precision import chosen_dtype
from synood.models.towers import ImageTower

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import torch

    from synood.images.presets import Preprocess
    from synood.models.families import VisionFamily

PROCESSORS = {
    *("BeitImageProcessor", "BitImageProcessor", "CLIPImageProcessor", "ConvNextImageProcessor"),
    *("DeiTImageProcessor", "DINOv3ViTImageProcessor", "EfficientNetImageProcessor"),
    *("SiglipImageProcessor", "Tipsv2ImageProcessor", "ViTImageProcessor"),
}
"""Image processors whose steps are all in their settings; others do more than is written there."""


class VisionEncoder(ImageTower):
    """A vision model of transformers, from a directory or a hub id; it reads no texts.

    >>> VisionEncoder.from_pretrained("facebook/dinov2-base").dim  # doctest: +SKIP
    768
    """

    reads_texts = False

    def __init__(
        self,
        model: Any,  # noqa: ANN401 - transformers is untyped here
        family: VisionFamily,
        preprocess: Preprocess,
        source: str | Path,
        revision: str | None = None,
    ) -> None:
        super().__init__(model, source, revision)
        self._family = family
        self.preprocess = preprocess
        self.dim: int = _width(model.config)
        self.image_size: int = preprocess.size

    @classmethod
    def from_pretrained(
        cls,
        path_or_id: str | Path,
        device: str = "cpu",
        dtype: str | torch.dtype = "float32",
        revision: str | None = None,
    ) -> VisionEncoder:
        """Load weights and preprocessing; `dtype` as for `ClipEncoder`.

        Raises `CheckpointError` when a file is missing or the weights are incomplete, and
        `InputError` for an image processor that is not known here.
        """
        from transformers import AutoModel

        from synood.models._spec import configuration

        where: dict[str, Any] = {"source": path_or_id, "revision": revision}
        family = vision_family_of(configuration(str(path_or_id), revision))
        if family is None:
            raise CheckpointError(f"{path_or_id}: is no vision model that is known here")
        preprocess = _preprocess(**where)
        options: dict[str, Any] = {"add_pooling_layer": False} if family.drops_pooler else {}
        model = load_model(
            AutoModel,
            device=device,
            dtype=chosen_dtype(dtype, device),
            trust_remote_code=False,
            **options,
            **where,
        )
        if not family.any_size:
            check_image_size(model.config, preprocess, path_or_id)
        return cls(model, family, preprocess, path_or_id, revision)

    def encode_texts(self, texts: Sequence[str], batch_size: int = 256) -> NoReturn:
        """Refuse: there is no text tower."""
        raise InputError(no_texts(self.name))

    def _image_features(self, inputs: torch.Tensor) -> torch.Tensor:
        output = self._model(pixel_values=inputs)
        if self._family.pooling == "first":
            features: torch.Tensor = output.last_hidden_state[:, 0]
        elif self._family.pooling == "mean":
            features = output.last_hidden_state.mean(dim=1)
        else:
            features = output.pooler_output.flatten(1)
        return features


def _preprocess(source: str | Path, revision: str | None) -> Preprocess:
    """Read an image processor of which nothing is known but its settings."""
    config, place = read_processor(source, revision), f"{source}/preprocessor_config.json"
    kind = processor_type(config)
    if kind not in PROCESSORS:
        raise InputError(
            f"{place}: what a {kind or 'processor without a name'} does is not known here, only "
            f"{', '.join(sorted(PROCESSORS))}"
        )
    return from_processor_config(config, place)


def _width(config: Any) -> int:  # noqa: ANN401 - transformers is untyped here
    """Return the length of the pooled feature, which configurations call by several names."""
    width = getattr(config, "hidden_size", None)
    if width is None and getattr(config, "hidden_sizes", None):
        width = config.hidden_sizes[-1]
    return int(config.hidden_dim if width is None else width)
