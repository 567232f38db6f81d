"""Speed and memory of the full-scale path on an accelerator, in at most nine minutes.

Painting with Stable Diffusion 2 and Z-Image-Turbo, encoding with CLIP ViT-B/16, tuning at the
paper's size, then the tests marked for a device. All models have random weights, so nothing is
fetched. Each part is a process with a limit of its own, and what it has printed is in the report
even if it is cut off. Without an accelerator, or with --toy, the same runs with tiny models, which
says nothing about speed.

    perf/device.sh [--install] [--toy] [--out FILE]

--install makes .venv-device first, with what is missing here, from the package index; the nine
minutes count from the end of that.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parents[1]
SECONDS = 540
SPARE = 8  # seconds kept for ending a part and writing the report
LEAST = 10  # seconds with which a part is worth starting
PARTS = {  # limits in seconds
    "about": 30,
    "stable-diffusion": 160,
    "z-image": 160,
    "encoding": 60,
    "tuning": 75,
    "tests": 75,
}
TOY = (
    "Tiny models and toy sizes: this shows that the script runs, and says nothing about speed. "
    "Nothing here was measured on an accelerator at full size."
)


def environment() -> dict[str, str]:
    paths = [str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "HF_HUB_OFFLINE": "1",
        "SYNOOD_CACHE_SIZE": "0",
    }


def part_command(part: str, device: str, toy: bool, seconds: float) -> list[str]:
    """Return the command of a part; what it prints is Markdown."""
    if part == "tests":
        where = "cpu" if toy else "accelerator"
        flags = ["-m", "device", "-k", where, "-v", "--no-header", "-rs", "-p", "no:cacheprovider"]
        return [sys.executable, "-u", "-m", "pytest", *flags, "tests/on_device"]
    script = str(Path(__file__).with_name("device_parts.py"))
    flags = ["--device", device, "--until", str(time.time() + seconds), *(["--toy"] * toy)]
    return [sys.executable, "-u", script, part, *flags]


def run_part(command: list[str], seconds: float, report: IO[str]) -> str:
    """Run a part, whose lines go straight to the report; return what went wrong, or nothing."""
    report.flush()
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment(),
            stdout=report,
            stderr=errors,
            start_new_session=True,
        )
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            return f"cut off after {seconds:.0f} s"
        finally:
            end(process)
        return "" if code == 0 else f"failed with exit code {code}{last_line(errors)}"


def end(process: subprocess.Popen[bytes]) -> None:
    """End a part with all that it has started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    process.wait()


def last_line(errors: IO[bytes]) -> str:
    """Pass a part's messages on, and return the last of them."""
    errors.seek(0)
    lines = errors.read().decode(errors="replace").strip().split("\n")
    sys.stderr.write("\n".join([*lines[-30:], ""]))
    return f": `{lines[-1]}`" if lines[-1] else ""


def measure(parts: list[str], device: str, toy: bool, allowed: float, report: IO[str]) -> list[str]:
    """Run the parts within the time allowed; return those that did not come to their end."""
    start, short = time.monotonic(), []
    for part in parts:
        left = allowed - (time.monotonic() - start) - SPARE
        seconds = min(PARTS[part], left)
        trouble = f"not run, since the {allowed:.0f} s were over"
        if seconds >= LEAST:
            print(f"{part}: at most {seconds:.0f} s", file=sys.stderr, flush=True)
            code = part == "tests"
            report.write("\n## Tests\n\n```text\n" if code else "")
            trouble = run_part(part_command(part, device, toy, seconds), seconds, report)
            report.write("\n```\n" if code else "")
        if trouble:
            report.write(f"\n**{part}**: {trouble}.\n")
            short.append(part)
        report.flush()
    report.write(f"\n{time.monotonic() - start:.0f} s in all, of {allowed:.0f}.\n")
    return short


def device_name(device: str) -> tuple[str, str]:
    """Return what the accelerator or the processor is called, and its kind."""
    script = str(Path(__file__).with_name("device_parts.py"))
    command = [sys.executable, script, "name", "--device", device]
    found = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    if found.returncode:
        raise SystemExit(f"{found.stderr.strip()[-2000:]}\nTry perf/device.sh --install")
    name, _, kind = found.stdout.strip().splitlines()[-1].rpartition("|")
    return name, kind


def report_place(name: str, toy: bool) -> Path:
    """Return where the results of a device stand; toy ones are no results."""
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    if toy:
        return Path(tempfile.gettempdir()) / f"synood-device-{slug}-toy.md"
    return ROOT / "docs" / "results" / f"device-{slug}.md"


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--toy", action="store_true", help="tiny models, on an accelerator too")
    parser.add_argument("--device", default="auto", help="a name that torch knows (default: auto)")
    parser.add_argument("--out", type=Path, help="report (default: docs/results/device-NAME.md)")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing report")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="time for all parts")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=[*PARTS])
    return parser.parse_args()


def main() -> None:
    options = parse_options()
    name, kind = device_name(options.device)
    toy = options.toy or kind == "cpu"
    place = options.out or report_place(name, toy)
    if place.exists() and not options.overwrite and not (toy and options.out is None):
        raise SystemExit(f"{place} exists; add --overwrite or choose another --out")
    place.parent.mkdir(parents=True, exist_ok=True)
    command = shlex.join(["perf/device.sh", *sys.argv[1:]])
    head = [f"# Speed on {name}", "", f"As `{command}` printed it.", *(["", TOY] if toy else [])]
    with place.open("w", encoding="utf-8") as report:
        report.write("\n".join([*head, ""]))
    with place.open("a", encoding="utf-8") as report:  # its parts append to the same file
        short = measure(options.parts, options.device, toy, options.seconds, report)
    print(place.read_text(encoding="utf-8"))
    print(place, file=sys.stderr)
    if short:
        raise SystemExit(f"not complete: {', '.join(short)}")


if __name__ == "__main__":
    main()
