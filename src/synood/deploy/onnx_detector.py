"""An exported detector: predictions by onnxruntime, NumPy and Pillow, without torch."""

from __future__ import annotations

import math
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from synood.arrays import to_numpy
from synood.deploy._metadata import Metadata
from synood.detector.prediction import Prediction
from synood.errors import CheckpointError, InputError
from synood.features.unreadable import Unreadable, map_or_unreadable
from synood.files import readable
from synood.images.decoding import MAX_PIXELS
from synood.images.inputs import as_image, batches, path_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import ArrayLike, NDArray

    from synood.detector.calibration import Calibration
    from synood.images.inputs import ImageInput, Images

BATCH = 16  # images whose predictions are yielded together
_COLUMNS = ("score", "p_value", "is_ood", "label", "image_evidence")  # outputs of a prediction


class OnnxDetector:
    """What `synood export` wrote, with the predictions of the detector that it was made from.

    `metadata` is what the file says of itself. Images are scored one at a time, since they differ
    in size.

    >>> detector = OnnxDetector.from_file("panda.onnx")  # doctest: +SKIP
    >>> detector.predict(["panda.jpg"])[0].label  # doctest: +SKIP
    'panda'
    """

    def __init__(self, session: Any, metadata: Metadata, name: str) -> None:  # noqa: ANN401
        self._session, self._name = session, name
        self.metadata = metadata

    @classmethod
    def from_file(cls, path: str | Path, threads: int | None = None) -> OnnxDetector:
        """Open a file; one that is damaged or of another kind is a `CheckpointError`.

        `threads` is how many onnxruntime computes with, as many as it likes if not given. Raises
        `InputError` where onnxruntime is missing.
        """
        path = Path(path)
        if not path.is_file():
            raise CheckpointError(f"{readable(path)}: no such file; `synood export` writes one")
        return cls.from_bytes(path, readable(path), threads)

    @classmethod
    def from_bytes(
        cls, source: Path | bytes, name: str, threads: int | None = None
    ) -> OnnxDetector:
        """Open a file or its bytes; `name` is for what errors say."""
        session = _session(source, name, threads)
        strings = session.get_modelmeta().custom_metadata_map
        return cls(session, Metadata.from_strings(strings, name), name)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes, in the order of `label`."""
        return self.metadata.class_names

    @property
    def calibration(self) -> Calibration | None:
        """How the threshold was found."""
        return self.metadata.calibration

    @property
    def threshold(self) -> float | None:
        """The threshold; where classes have their own, that of the calibration."""
        known = self.metadata.thresholds
        if len(known) > 1 and self.calibration is not None:
            return self.calibration.threshold
        return known[0] if known else None

    @property
    def dim(self) -> int:
        """Length of a feature."""
        shapes = {one.name: one.shape for one in self._session.get_outputs()}
        return int(shapes["features"][1])

    def predict(self, images: Images) -> list[Prediction]:
        """Score images and say for each whether it is out-of-distribution, and its class.

        As `OODDetector.predict`, without `why`. An image that cannot be read has the reason in
        `error`.
        """
        return list(self.iter_predict(images, report_unreadable=True))

    def iter_predict(
        self, images: Images, *, report_unreadable: bool = False
    ) -> Iterator[Prediction]:
        """Yield predictions as `OODDetector.iter_predict` does; nothing is explained."""
        for batch in batches(images, BATCH):
            found = map_or_unreadable(self._predicted, batch)
            for item, one in zip(batch, found, strict=True):
                if not isinstance(one, Unreadable):
                    yield one
                elif report_unreadable:
                    yield Prediction(math.nan, None, "", path_of(item), one.reason)
                else:
                    raise InputError(one.reason)

    def predict_features(
        self, features: ArrayLike, paths: Sequence[Path | None] | None = None
    ) -> list[Prediction]:
        """Return predictions for features (N, D), by a file that takes features."""
        self._check_input("features")
        rows = to_numpy(features, "image features").astype(np.float32, copy=False)
        if rows.ndim != 2 or rows.shape[1] != self.dim:
            raise InputError(f"image features: shape {rows.shape} is not (N, {self.dim})")
        if not len(rows):
            return []
        return self._predictions({"image_features": rows}, paths or [None] * len(rows))

    def outputs(self, images: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        """Run the graph on images (N, H, W, 3) of bytes; return every output by name."""
        self._check_input("image")
        return self._run({"images": images})

    def _predicted(self, item: ImageInput) -> Prediction:
        self._check_input("image")
        image = as_image(item, reading=self.metadata.reading)
        path = path_of(item)
        self._check_shape(image.size, "opened image" if path is None else readable(path))
        return self._predictions({"images": np.asarray(image)[None]}, [path])[0]

    def _check_shape(self, size: tuple[int, int], name: str) -> None:
        """Refuse a strip that would become gigabytes: the graph resizes images whole."""
        edge, (short, long) = self.metadata.resize, sorted(size)
        if edge * edge * long > MAX_PIXELS * short:
            raise InputError(
                f"{name}: a strip of {size[0]} x {size[1]} pixels is too long for an exported "
                "detector; cut it into pieces"
            )

    def _check_input(self, kind: str) -> None:
        if self.metadata.input != kind:
            taken = self.metadata.input.removesuffix("s")
            raise InputError(
                f"{self._name}: takes {taken}s, not {kind.removesuffix('s')}s; export the detector "
                f"with --input {kind}"
            )

    def _predictions(self, feed: dict[str, Any], paths: Sequence[Path | None]) -> list[Prediction]:
        found = self._run(feed)
        columns = {name: found[name].tolist() for name in _COLUMNS}
        rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        return [self._prediction(row, path) for row, path in zip(rows, paths, strict=True)]

    def _prediction(self, found: dict[str, Any], path: Path | None) -> Prediction:
        score = found["score"]
        if not math.isfinite(score):
            name = "features" if path is None else readable(path)
            raise InputError(f"{name}: the score is {score}")
        return Prediction(
            score=score,
            is_ood=found["is_ood"] if self.metadata.thresholds else None,
            label=self.class_names[found["label"]],
            path=path,
            p_value=_number(found["p_value"]),
            image_evidence=_number(found["image_evidence"]),
        )

    def _run(self, feed: dict[str, Any]) -> dict[str, NDArray[Any]]:
        return dict(zip(self._names, self._session.run(self._names, feed), strict=True))

    @cached_property
    def _names(self) -> list[str]:
        return [one.name for one in self._session.get_outputs()]


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value


def _session(source: Path | bytes, name: str, threads: int | None) -> Any:  # noqa: ANN401
    if find_spec("onnxruntime") is None:
        raise InputError(f"{name}: needs onnxruntime: pip install 'synood[onnx]'")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    if threads is not None:
        options.intra_op_num_threads = threads
    try:
        return onnxruntime.InferenceSession(
            source if isinstance(source, bytes) else str(source),
            options,
            providers=["CPUExecutionProvider"],
        )
    except Exception as error:  # noqa: BLE001 - onnxruntime's errors have no common class
        reason = " ".join(str(error).split())[:300]
        raise CheckpointError(f"{name}: not an ONNX file that can be run ({reason})") from None
