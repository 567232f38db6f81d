"""`synood score`: a verdict on each image."""

from __future__ import annotations

from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from synood.cli.console import Format, deliver, deliver_file, reporter, warn
from synood.cli.exits import DONE, OOD_FOUND
from synood.cli.options import (
    LOCAL,
    Device,
    ExecutorOptions,
    Flag,
    Images,
    MovedModels,
    Overwrite,
)
from synood.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Sequence

    from synood.deploy.onnx_detector import OnnxDetector
    from synood.detector import OODDetector, Prediction
    from synood.detector.calibration import Calibration
    from synood.images.sources import ImageIndex

SUFFIX = ".onnx"  # of a file that `synood export` wrote


def score(
    detector: Path,
    /,
    *images: Images,
    features: Path | None = None,
    format: Format = "table",
    out: Path | None = None,
    overwrite: Overwrite = False,
    fail_on_ood: Flag = False,
    explain: Flag = False,
    fdr: float | None = None,
    models: MovedModels = None,
    device: Device = "auto",
    runtime: Literal["auto", "torch", "onnx"] = "auto",
    executor: ExecutorOptions = LOCAL,
) -> int:
    """Score images: a higher score means more likely one of the classes.

    The score is the log odds of the classes against the negative labels, weighed with image \
evidence where the detector has any; an image below the threshold is out-of-distribution (OOD). \
The p-value is the fraction of in-distribution images that score no higher.

    Every image has a row; an unreadable one has its error instead of a score, and the exit code \
is then 2, or 3 if --fail-on-ood is given and another image is out-of-distribution.

    Parameters
    ----------
    detector
        Directory of the detector, its id OWNER/NAME on the Hugging Face hub, or a file that \
`synood export` wrote.
    features
        Safetensors file with a tensor "features" (N, D), in place of images.
    format
        Format of the output; cleanvision is CSV with the columns is_ood_issue and ood_score \
(0 to 1, low is worse).
    out
        File to write instead of printing.
    fail_on_ood
        Exit with 3 if an image is out-of-distribution.
    explain
        Add what each image is nearest to (see `synood explain`) as columns of JSONL or CSV.
    fdr
        Verdicts that hold for all images together: of those called OOD, at most this fraction is \
in-distribution on average (0.05; Benjamini-Hochberg), instead of the threshold.
    runtime
        What computes: torch, or onnxruntime for an exported file ("auto": for a file that ends \
in .onnx).
    """
    from synood.cli.outputs import check_output_file
    from synood.cli.verdicts import Tally, spooled, write_verdicts
    from synood.detector.discoveries import check_rate
    from synood.detector.drift import drift_warning

    if explain and format in ("table", "cleanvision"):
        raise InputError("score: --explain needs --format jsonl or csv; or use `synood explain`")
    if out is not None:
        check_output_file(out, overwrite, (detector, features, *images))
    index = _listed(images, features)
    loaded = _opened(detector, runtime, device, models)
    calibration = None if fdr is None else check_rate(loaded.calibration, fdr, str(detector))
    needs_verdicts = fail_on_ood or format == "cleanvision"
    if needs_verdicts and calibration is None and loaded.threshold is None:
        raise InputError(f"{detector}: has no threshold yet; set one with `synood calibrate`")
    tally = Tally()
    with closing(_predict(loaded, index, executor, explain)) as found, spooled() as text:
        predictions, remarks = _with_rate(found, calibration, fdr)
        write_verdicts(text, tally.of(predictions), format, explain)
        drifted = drift_warning(loaded.calibration, tally.scores, tally.image_evidence)
        for sentence in (*([drifted] if drifted else ()), *remarks):
            warn(sentence)
        if format == "table" and out is None:
            text.seek(0)
            deliver(text.read())
        else:
            deliver_file(text, out)
    if fail_on_ood and tally.any_ood:
        return OOD_FOUND
    tally.refuse_unscored()
    return DONE


def _with_rate(
    predictions: Iterable[Prediction], calibration: Calibration | None, rate: float | None
) -> tuple[Iterable[Prediction], list[str]]:
    """Return predictions with verdicts for all of them together, and remarks on these.

    Without a `rate` they are as they come, and none is kept.
    """
    from synood.detector.discoveries import with_rate

    if calibration is None or rate is None:
        return predictions, []
    found, remark = with_rate([*predictions], calibration, rate)
    return found, [remark] if remark else []


def _listed(images: Sequence[str], features: Path | None) -> ImageIndex | Path:
    """Return the images to score, or the file of features in their place."""
    from synood.images.listing import listed_images

    if features is None:
        return listed_images(images)
    if images:
        raise InputError("score: give either images or --features")
    return features


def _opened(
    path: Path, runtime: str, device: str, models: str | None
) -> OODDetector | OnnxDetector:
    """Return a detector of a directory, or of a file that was exported."""
    from synood.cli.inputs import load_detector

    if runtime == "torch" or (runtime == "auto" and path.suffix.lower() != SUFFIX):
        return load_detector(path, device, models)
    from synood.deploy.onnx_detector import OnnxDetector

    if models is not None or device not in ("auto", "cpu"):
        raise InputError(f"{path}: an exported file holds its models and runs on the CPU alone")
    if path.is_dir():
        raise InputError(f"{path}: is a directory; write it as one file with `synood export`")
    return OnnxDetector.from_file(path)


def _predict(
    detector: OODDetector | OnnxDetector,
    images: ImageIndex | Path,
    executor: ExecutorOptions,
    explain: bool,
) -> Generator[Prediction]:
    """Yield a prediction for each image, or for each row of a file of features."""
    from synood.deploy.onnx_detector import OnnxDetector

    if isinstance(detector, OnnxDetector):
        yield from _predict_exported(detector, images, executor, explain)
        return
    from synood.cli.inputs import warn_of_photographs
    from synood.pipeline.scoring import iter_index, predict_file

    if isinstance(images, Path):
        yield from predict_file(detector, images, explain)
        return
    warn_of_photographs(detector, images)
    with executor.opened() as workers, reporter() as progress:
        yield from iter_index(detector, images, workers, partial(progress, "score"), explain)


def _predict_exported(
    detector: OnnxDetector, images: ImageIndex | Path, executor: ExecutorOptions, explain: bool
) -> Generator[Prediction]:
    """Yield the same from an exported file, without torch."""
    from synood.cli.inputs import warn_of_encoder_name
    from synood.deploy.onnx_detector import BATCH
    from synood.features.files import read_features

    if executor != LOCAL:
        raise InputError("score: an exported file runs in this process alone; leave --executor out")
    if explain:
        raise InputError("score: an exported file cannot --explain; use the detector's directory")
    if isinstance(images, Path):
        given = read_features(images)
        names = [Path(name) for name in given.names()]
        yield from detector.predict_features(given.features, names)
        return
    warn_of_encoder_name(detector.metadata.encoder, images)
    total = len(images.records)
    with reporter() as progress:
        for start in range(0, total, BATCH):
            paths = [record.path for record in images.records[start : start + BATCH]]
            yield from detector.predict(paths)
            progress("score", start + len(paths), total, "")
