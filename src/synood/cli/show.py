"""`synood show`: what a detector is."""

from __future__ import annotations

import json
from pathlib import Path  # noqa: TC003 - the command line reads the annotations
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from synood.cli.console import deliver, deliver_data, detector_text
from synood.cli.options import Flag  # noqa: TC001

if TYPE_CHECKING:
    from collections.abc import Mapping

    from synood.detector.ood_detector import OODDetector

SHOWN = 20  # class names before "... more"


def show(detector: Path, /, *, as_json: Annotated[Flag, Parameter(name="--json")] = False) -> None:
    """Show what a detector is: classes, encoder, evidence, negative labels, threshold, size.

    Parameters
    ----------
    detector
        Directory of the detector, or its id OWNER/NAME on the Hugging Face hub.
    as_json
        Print JSON, with every class name.
    """
    from synood.cli.inputs import run_of
    from synood.detector.description import describe
    from synood.detector.from_hub import located
    from synood.detector.ood_detector import OODDetector
    from synood.files import read_json, readable

    loaded = OODDetector.from_pretrained(detector, device="cpu")
    place = located(detector).directory
    config, run = read_json(place / "config.json"), run_of(detector)
    files = sorted(path for path in place.iterdir() if path.is_file())
    found = {
        "path": readable(detector),
        "run": run and readable(run),
        "schema": config["schema"],
        "synood": config["synood"],
        **describe(loaded),
        "files": {path.name: path.stat().st_size for path in files},
    }
    if as_json:
        return deliver_data(json.dumps(found, indent=2, ensure_ascii=False) + "\n")
    return deliver(_text(found, loaded))


def _text(found: Mapping[str, Any], detector: OODDetector) -> str:
    from synood.benchmark.results.text import aligned
    from synood.files import printable
    from synood.models.reach import DRAWINGS, backbone_knows_drawings_alone

    encoder, negatives = found["encoder"], found["negative_labels"]
    rows = [
        ("detector", found["path"]),
        ("made by", f"recipe {found['recipe']}, synood {found['synood']}{_run(found['run'])}"),
        ("classes", _names(found["classes"])),
        ("encoder", _encoder(encoder)),
        ("", f"{encoder['features']} features{_preprocess(encoder)}"),
        *([("", DRAWINGS)] if backbone_knows_drawings_alone(encoder["bundle"]) else []),
        *(("evidence" * (number == 0), part) for number, part in enumerate(found["evidence"])),
        ("negatives", _negatives(negatives)),
        ("threshold", detector_text(detector).splitlines()[-1].removeprefix("threshold ")),
        *(("", warning) for warning in _warnings(detector)),
        ("size", _size(found["files"])),
        *(("note", note) for note in found["notes"]),
    ]
    return "".join(f"{line}\n" for line in aligned([(a, printable(str(b))) for a, b in rows], 2))


def _warnings(detector: OODDetector) -> tuple[str, ...]:
    found = detector.calibration
    return (found.warning,) if found is not None and found.warning else ()


def _run(run: str | None) -> str:
    return f", in the run {run}" if run else ""


def _names(names: list[str]) -> str:
    rest = f", and {len(names) - SHOWN:,} more (--json lists all)" if len(names) > SHOWN else ""
    return f"{len(names):,}: {', '.join(names[:SHOWN])}{rest}"


def _negatives(found: Mapping[str, Any]) -> str:
    if not found["count"]:
        return "none: it has no texts, and judges by images alone"
    return f"{found['count']:,}, such as {', '.join(repr(text) for text in found['examples'])}"


def _encoder(found: Mapping[str, Any]) -> str:
    if not found["fingerprint"]:
        return f"none: {found['from']}"
    absent = "" if found["present"] else " (not on this machine)"
    return f"bundle {found['bundle']}: {found['from']}{absent}"


def _preprocess(found: Mapping[str, Any]) -> str:
    return f", preprocessing {found['preprocess']}" if found["fingerprint"] else ""


def _size(files: Mapping[str, int]) -> str:
    total = sum(files.values())
    parts = ", ".join(f"{name} {_bytes(size)}" for name, size in files.items())
    return f"{_bytes(total)} ({parts})"


def _bytes(size: int) -> str:
    """Return a size as people write it.

    >>> _bytes(900), _bytes(2_340_000)
    ('900 B', '2.3 MB')
    """
    if size < 1000:
        return f"{size} B"
    return f"{size / 1e3:.1f} kB" if size < 1e6 else f"{size / 1e6:.1f} MB"
