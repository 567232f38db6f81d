"""`synood score`: a verdict on each image."""

from __future__ import annotations

from functools import partial
from pathlib import Path  # noqa: TC003 - the command line reads the annotations

from synood.cli.console import (
    Format,
    deliver,
    deliver_data,
    predictions_text,
    reporter,
    warn,
)
from synood.cli.exits import DONE, OOD_FOUND
from synood.cli.options import LOCAL, Device, ExecutorOptions, Flag, MovedModels, Overwrite
from synood.errors import InputError


def score(
    detector: Path,
    /,
    *images: str,
    format: Format = "table",
    out: Path | None = None,
    overwrite: Overwrite = False,
    fail_on_ood: Flag = False,
    explain: Flag = False,
    fdr: float | None = None,
    models: MovedModels = None,
    device: Device = "auto",
    executor: ExecutorOptions = LOCAL,
) -> int:
    """Score images: the higher, the more surely one of the classes.

    The score is the log odds of the classes against the negative labels; an image below the \
threshold is out-of-distribution (OOD). The p-value is the fraction of in-distribution images that \
score no higher.

    Every image has a row; an unreadable one has its error instead of a score, and the exit code \
is then 2, or 3 if --fail-on-ood is given and another image is out-of-distribution.

    Parameters
    ----------
    detector
        Directory of the detector.
    images
        Images: files, folders, a list file (.txt, one path per line), "-" (such a list on \
standard input), or a quoted pattern ("photos/**/*.jpg").
    format
        Format of the output.
    out
        File to write instead of printing.
    fail_on_ood
        Exit with 3 if an image is out-of-distribution.
    explain
        Add what each image is nearest to (see `synood explain`) as columns of JSONL or CSV.
    fdr
        Verdicts that hold for all images together: of those called OOD, at most this fraction is \
in-distribution on average (0.05; Benjamini-Hochberg), instead of the threshold.
    """
    from synood.cli.inputs import load_detector, warn_of_photographs
    from synood.cli.outputs import check_output_file
    from synood.detector.discoveries import check_rate, with_rate
    from synood.detector.drift import drift_warning
    from synood.images.listing import listed_images
    from synood.pipeline.scoring import predict_index

    if explain and format == "table":
        raise InputError("score: --explain needs --format jsonl or csv; or use `synood explain`")
    if out is not None:
        check_output_file(out, overwrite, images)
    index = listed_images(images)
    loaded = load_detector(detector, device, models)
    warn_of_photographs(loaded, index)
    calibration = None if fdr is None else check_rate(loaded.calibration, fdr, str(detector))
    if fail_on_ood and calibration is None and loaded.threshold is None:
        raise InputError(f"{detector}: has no threshold yet; set one with `synood calibrate`")
    with executor.opened() as workers, reporter() as progress:
        predictions = predict_index(loaded, index, workers, partial(progress, "score"), explain)
    readable = [prediction.score for prediction in predictions if not prediction.error]
    if sentence := drift_warning(loaded.calibration, readable):
        warn(sentence)
    if fdr is not None and calibration is not None:
        predictions, remark = with_rate(predictions, calibration, fdr)
        if remark:
            warn(remark)
    text = predictions_text(predictions, format, explain)
    if format == "table" and out is None:
        deliver(text)
    else:
        deliver_data(text, out)
    if fail_on_ood and any(prediction.is_ood for prediction in predictions):
        return OOD_FOUND
    errors = [prediction.error for prediction in predictions if prediction.error]
    if errors:
        raise InputError(f"{len(errors)} of {len(predictions)} images have no score: {errors[0]}")
    return DONE
