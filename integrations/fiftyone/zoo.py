"""What FiftyOne calls: a detector behind `dataset.apply_model` and `dataset.compute_embeddings`.

Images are read by synood from their files, so that a sample has the score that `synood score` gives
it; only frames of videos, which have no file, are taken as FiftyOne decoded them.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from synood import OODDetector
from synood.errors import InputError
from synood.scores import share

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import numpy as np

    from synood.detector import Prediction

OOD = "out-of-distribution"
_MARK = "The detector is named when the model is loaded: detector=DIRECTORY_OR_HUB_ID\n"


def download_model(model_name: str, model_path: str) -> None:
    """Note that there is nothing to download: the detector is named when the model is loaded."""
    Path(model_path).write_text(_MARK, encoding="utf-8")


def load_model(
    model_name: str,
    model_path: str,
    detector: str | Path | OODDetector | None = None,
    models: str | Path | None = None,
    device: str = "auto",
    **_: object,
) -> Any:  # noqa: ANN401 - a class that is made when FiftyOne is there
    """Return the model of FiftyOne for a detector: a directory, an id of the hub, or an object.

    `models` is the detector's bundle, if it was moved, and `device` where it runs. Raises
    `InputError` without a detector, and for one without a threshold.
    """
    if detector is None:
        raise InputError(
            f'{model_name}: name a detector, as in load_zoo_model("{model_name}", '
            'detector="run/detector")'
        )
    loaded = detector
    if not isinstance(loaded, OODDetector):
        loaded = OODDetector.from_pretrained(loaded, models, device)
    return zoo_model(loaded)


def resolve_input(model_name: str, ctx: Any) -> Any:  # noqa: ANN401 - FiftyOne's types
    """Ask for the detector in FiftyOne's app."""
    from fiftyone.operators import types

    inputs = types.Object()
    inputs.str("detector", required=True, label="Detector", description="Directory or hub id")
    return types.Property(inputs)


class Predictor:
    """The protocol of FiftyOne's image models, with labels made by `make_label`.

    A label is the nearest class or `OOD`. Its `confidence` is how far from the threshold the score
    lies: 0.5 on it, towards 1 on either side. It also has the `score` (log odds of the classes),
    the `p_value` and the `nearest_class`.
    """

    media_type = "image"
    has_logits = False
    has_embeddings = True
    can_embed_prompts = False
    ragged_batches = False  # images of any sizes are one batch
    preprocess = True
    transforms = None  # the detector resizes and crops as its encoder wants it
    config = None

    def __init__(self, detector: OODDetector, make_label: Callable[..., Any]) -> None:
        if detector.threshold is None:
            raise InputError("detector: has no threshold yet; set one with `synood calibrate`")
        self.detector = detector
        self.needs_fields: dict[str, str] = {}
        self._make_label = make_label

    def __enter__(self) -> Predictor:
        """Nothing is to be set up."""
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is to be tidied up."""

    def predict(self, arg: object, sample: object = None) -> Any:  # noqa: ANN401 - a label
        """Return the label of one image (H, W, 3), or of the file of its sample."""
        return self.predict_all([arg], [sample])[0]

    def predict_all(self, args: Iterable[object], samples: Sequence[object] | None = None) -> list:
        """Return the labels of images, or of the files of their samples, in their order.

        Raises `InputError` for an image that cannot be read.
        """
        images = [*args]
        places = [_file_of(sample) for sample in samples or [None] * len(images)]
        given = [
            image if place is None else place for place, image in zip(places, images, strict=True)
        ]
        return [self._label(one) for one in self.detector.iter_predict(given)]

    def embed(self, arg: object) -> np.ndarray:
        """Return the encoder's features (D,) of one image."""
        return self.embed_all([arg])[0]

    def embed_all(self, args: Iterable[object]) -> np.ndarray:
        """Return the encoder's features (N, D) of images."""
        return self.detector.embed([*args])

    def _label(self, found: Prediction) -> Any:  # noqa: ANN401 - a label
        row = self.detector.class_names.index(found.label)
        threshold = self.detector.threshold_of(row)
        return self._make_label(
            label=OOD if found.is_ood else found.label,
            confidence=float(share([abs(found.score - threshold)])[0]),
            score=float(found.score),
            p_value=found.p_value,
            nearest_class=found.label,
        )


def zoo_model(detector: OODDetector) -> Any:  # noqa: ANN401 - as load_model
    """Return `Predictor` as a model of FiftyOne."""
    import fiftyone as fo
    import fiftyone.core.models as fom

    class SynoodModel(Predictor, fom.SamplesMixin, fom.EmbeddingsMixin, fom.Model):
        """A detector of synood for `apply_model` and `compute_embeddings`."""

    return SynoodModel(detector, fo.Classification)


def _file_of(sample: object) -> Path | None:
    """Return the file of a sample; a frame of a video has none."""
    place = getattr(sample, "filepath", None)
    if not isinstance(place, str) or getattr(sample, "media_type", "image") != "image":
        return None
    return Path(place)
