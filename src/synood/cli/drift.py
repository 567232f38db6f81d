"""`synood drift`: whether new images are still of the kind that a detector was set for."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path  # noqa: TC003 - the command line reads the annotations
from typing import TYPE_CHECKING, Any, Literal

from synood.cli.console import deliver, deliver_data, table_text, warn
from synood.cli.exits import DONE, DRIFT_FOUND
from synood.cli.options import Flag, Overwrite  # noqa: TC001
from synood.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from synood.detector import OODDetector
    from synood.detector.martingale import StreamState
    from synood.detector.watching import Comparison, Observed, VerdictCount, WindowState

Form = Literal["table", "json"]
TITLES = {"score": "score", "image_evidence": "image evidence"}
ALL = "all images"


def drift(
    detector: Path,
    /,
    *,
    window: Path,
    reference: Path | None = None,
    level: float = 0.01,
    format: Form = "table",
    out: Path | None = None,
    overwrite: Overwrite = False,
    fail_on_drift: Flag = False,
) -> int:
    """Compare new images with earlier ones, by files that `synood score` wrote.

    Scores and image evidence are tested twice: the window as a whole (Kolmogorov-Smirnov, with \
the population stability index beside it) and in the order of the file, as a stream. Where \
nothing has changed, the chance of a false alarm, of all tests together, is at most --level.

    Parameters
    ----------
    detector
        Directory of the detector.
    window
        File of new images: JSONL or CSV of `synood score DETECTOR`, in the order they came in.
    reference
        File of earlier images to compare with, such as those of an ordinary week; the detector's \
calibration images if not given.
    level
        Chance of a false alarm, of all tests together.
    format
        Format of the output.
    out
        File to write instead of printing.
    fail_on_drift
        Exit with 3 if there is drift.
    """
    from synood.cli.outputs import check_output_file
    from synood.detector import OODDetector
    from synood.detector.martingale import checked_level
    from synood.detector.verdict_files import read_verdicts
    from synood.detector.watching import compare

    checked_level(level)
    if out is not None:
        check_output_file(out, overwrite, (detector, window, reference))
    loaded = OODDetector.from_pretrained(detector, device="cpu")
    new = read_verdicts(window, loaded.class_names)
    if reference is None:
        known = _calibration_of(loaded, detector)
    else:
        known = read_verdicts(reference, loaded.class_names)
    found = compare(known, new, level)
    for sentence in _remarks(known, new):
        warn(sentence)
    names = {"reference": _name(reference, detector), "window": _name(window, detector)}
    if format == "json":
        record = _record(found, names, known, new)
        deliver_data(json.dumps(record, indent=2, ensure_ascii=False) + "\n", out)
    elif out is not None:
        deliver_data(_text(found, names, known, new), out)
    else:
        deliver(_text(found, names, known, new))
    return DRIFT_FOUND if fail_on_drift and found.is_drift else DONE


def _calibration_of(detector: OODDetector, place: Path) -> Observed:
    from synood.detector.watching import Observed
    from synood.files import readable

    found = detector.calibration
    known = None if found is None else Observed.of(found, detector.class_names)
    if known is None:
        raise InputError(
            f"{readable(place)}: keeps no calibration scores to compare with; give --reference, "
            "or add them with `synood calibrate`"
        )
    return known


def _remarks(known: Observed, new: Observed) -> list[str]:
    """Say what makes the comparison weaker than it could be."""
    from synood.detector.drift import FEWEST

    found = []
    for name, side in (("reference", known), ("window", new)):
        if len(side.scores) < FEWEST:
            found.append(f"{name}: {_images(side)} can tell little; give {FEWEST} or more")
    if (known.image_evidence is None) != (new.image_evidence is None):
        lacking = "reference" if known.image_evidence is None else "window"
        found.append(f"image evidence is not compared: the {lacking} has none")
    return found


def _name(file: Path | None, detector: Path) -> str:
    from synood.files import readable

    return f"calibration images of {readable(detector)}" if file is None else readable(file)


def _record(
    found: Comparison, names: Mapping[str, str], known: Observed, new: Observed
) -> dict[str, Any]:
    """Return the comparison as JSON values."""
    return {
        "is_drift": found.is_drift,
        "level": found.level,
        **{
            name: {
                "name": names[name],
                "images": len(side.scores),
                "unreadable": side.unreadable,
            }
            for name, side in (("reference", known), ("window", new))
        },
        "windows": {name: asdict(state) for name, state in found.windows.items()},
        "streams": {name: asdict(state) for name, state in found.streams.items()},
        "verdicts": {
            name: {label: asdict(count) for label, count in side.verdicts().items() if label}
            for name, side in (("reference", known), ("window", new))
        },
        "totals": {
            name: asdict(_total(side)) for name, side in (("reference", known), ("window", new))
        },
    }


def _text(found: Comparison, names: Mapping[str, str], known: Observed, new: Observed) -> str:
    """Return the comparison as tables, the answer last."""
    return "\n".join(
        [
            table_text([*_side("reference", names, known), *_side("window", names, new)]),
            table_text(_tests(found)),
            table_text(_verdicts(known, new)),
            _answer(found),
        ]
    )


def _side(name: str, names: Mapping[str, str], side: Observed) -> list[list[str]]:
    from synood.files import printable

    missing = f" and {side.unreadable:,} without a score" if side.unreadable else ""
    return [[name, f"{_images(side)}{missing}: {printable(names[name])}"]]


def _images(side: Observed) -> str:
    return f"{len(side.scores):,} image{'s' * (len(side.scores) != 1)}"


def _tests(found: Comparison) -> list[list[str]]:
    rows = [["test", "of", "distance", "p-value", "alarm below", "PSI", "unchanged", ""]]
    for name, window in found.windows.items():
        rows.append(["window", TITLES[name], *_window_cells(window)])
    for name, stream in found.streams.items():
        rows.append(["stream", TITLES[name], *_stream_cells(stream)])
    return rows


def _window_cells(window: WindowState) -> list[str]:
    remark = f"drift: {'lower' if window.lower else 'higher'}" if window.is_drift else ""
    return [
        f"{window.distance:.3f}",
        f"{window.p_val:.2g}",
        f"{window.threshold:.2g}",
        f"{window.psi:.3f}",
        f"{window.psi_unchanged:.3f}",
        remark,
    ]


def _stream_cells(stream: StreamState) -> list[str]:
    remark = f"drift: alarm at image {stream.alarm_at:,}" if stream.alarm_at else ""
    return [
        f"{stream.distance:.3f}",
        f"{stream.p_val:.2g}",
        f"{stream.threshold:.2g}",
        "-",
        "-",
        remark,
    ]


def _verdicts(known: Observed, new: Observed) -> list[list[str]]:
    """Return the share of OOD verdicts by predicted class, on both sides."""
    from synood.files import printable

    sides = known.verdicts(), new.verdicts()
    labels = sorted({label for side in sides for label in side if label})
    rows = [["predicted class", "reference", "OOD", "window", "OOD"]]
    for label in labels:
        cells = [cell for side in sides for cell in _counted(side.get(label))]
        rows.append([printable(label), *cells])
    total = [cell for side in (known, new) for cell in _counted(_total(side))]
    return [*rows, [ALL, *total]]


def _total(side: Observed) -> VerdictCount:
    from synood.detector.watching import VerdictCount

    counts = side.verdicts().values()
    return VerdictCount(*(sum(getattr(c, n) for c in counts) for n in ("images", "judged", "ood")))


def _counted(count: VerdictCount | None) -> tuple[str, str]:
    if count is None:
        return "-", "-"
    return f"{count.images:,}", f"{100 * count.ood / count.judged:.1f} %" if count.judged else "-"


def _answer(found: Comparison) -> str:
    answer = "drift" if found.is_drift else "no drift found"
    return f"{answer} (chance of a false alarm by any of these tests: {100 * found.level:g} %)\n"
