"""What the command line shows: progress as a bar or as lines, and text that is delivered."""

from __future__ import annotations

import io
import os
import shutil
import sys
import time
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal, Protocol, TextIO

from synood.errors import SynoodWarning

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path
    from types import TracebackType

    from rich.progress import TaskID

    from synood.detector.ood_detector import OODDetector

Format = Literal["table", "jsonl", "csv", "cleanvision"]
SILENCE = 10.0  # seconds after which a line of progress is due even if little was done
MESSAGE = 48  # characters of a message beside a bar


class Reporter(Protocol):
    """A `Progress` that is open while a command runs."""

    def __enter__(self) -> Reporter:
        """Begin to show progress."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the screen tidy."""

    def __call__(self, stage: str, done: int, total: int, message: str) -> None:
        """Show how far `stage` is; `total` 0 means that `message` is a remark."""


class Lines:
    """Progress for logs: a line at the start and end of a stage, at each tenth, and in between."""

    def __init__(
        self, write: Callable[[str], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._write = write
        self._clock = clock
        self._tenths: dict[str, int] = {}
        self._last = clock()

    def __enter__(self) -> Lines:
        """Nothing is to be set up."""
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is to be tidied up."""

    def __call__(self, stage: str, done: int, total: int, message: str) -> None:
        """Write a line if it is due."""
        if not total:
            self._write(f"{stage}: {message}")
            return
        tenth = 10 * done // total
        late = self._clock() - self._last > SILENCE
        if late or self._tenths.get(stage) != tenth:
            self._tenths[stage] = tenth
            self._last = self._clock()
            self._write(f"{stage} {done}/{total} {message}".rstrip())


class Bars:
    """Progress on a terminal: one bar for each stage, remarks above them."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        self._bars = Progress(
            TextColumn("{task.description:<10}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("[dim]{task.fields[message]}"),
            console=Console(stderr=True),
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Bars:
        """Draw the bars from now on."""
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the bars as they are and give the terminal back."""
        self._bars.stop()

    def __call__(self, stage: str, done: int, total: int, message: str) -> None:
        """Move the bar of `stage`."""
        from rich.markup import escape

        if not total:
            self._bars.console.print(f"{stage}: {escape(message)}", highlight=False)
            return
        if stage not in self._tasks:
            self._tasks[stage] = self._bars.add_task(stage, total=total, message="")
        shown = escape(message[:MESSAGE]) if done < total else ""
        self._bars.update(self._tasks[stage], completed=done, total=total, message=shown)


def reporter() -> Reporter:
    """Return bars for a terminal, lines for a log."""
    return Bars() if sys.stderr is not None and sys.stderr.isatty() else Lines(tell)


def use_any_text() -> None:
    """Have the console show characters outside its encoding as escapes instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def discard(stream: TextIO) -> None:
    """Send what is still written to a stream nowhere: its reader has closed the pipe."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)


def deliver(text: str) -> None:
    """Print `text` as it stands."""
    print(text, end="")


def deliver_data(text: str, out: Path | None = None) -> None:
    """Write text that other programs read to a file or standard output, in UTF-8 in any case."""
    from synood.files import write_text

    if out is not None:
        write_text(out, text)
        return
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")
    print(text, end="")


def deliver_file(file: TextIO, out: Path | None = None) -> None:
    """Write what is in an open text file as `deliver_data` does, without taking it into memory."""
    from synood.files import replacing

    file.seek(0)
    if out is None:
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(encoding="utf-8")
        shutil.copyfileobj(file, sys.stdout)
        return
    with replacing(out) as part, part.open("w", encoding="utf-8", newline="") as copy:
        shutil.copyfileobj(file, copy)


def tell(line: str) -> None:
    """Print a line to standard error, as all that is no result; without a reader, go on."""
    from synood.files import printable

    if sys.stderr is None:  # closed by the caller; print would take standard output instead
        return
    try:
        print(printable(line), file=sys.stderr, flush=True)
    except BrokenPipeError:
        discard(sys.stderr)


def warn(sentence: str) -> None:
    """Print a warning to standard error."""
    tell(f"warning: {sentence}")


@contextmanager
def own_warnings_as_lines() -> Iterator[None]:
    """Print each warning of this package as one line, once; leave those of libraries to Python."""
    shown: set[str] = set()
    as_python_does = warnings.showwarning

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if not issubclass(category, SynoodWarning):
            as_python_does(message, category, filename, lineno, file, line)
        elif str(message) not in shown:
            shown.add(str(message))
            warn(str(message))

    warnings.showwarning = show
    try:
        yield
    finally:
        warnings.showwarning = as_python_does


def warn_of_unreadable(reasons: Sequence[str], name: str) -> None:
    """Warn of each image that was skipped, and count them."""
    for reason in reasons:
        warn(reason)
    if reasons:
        warn(f"{name}: {len(reasons)} unreadable image{'s' * (len(reasons) != 1)} skipped")


def table_text(cells: Sequence[Sequence[str]]) -> str:
    """Align columns of text to the left; the first row is the head."""
    from synood.benchmark.results.text import aligned

    return "".join(line + "\n" for line in aligned(cells, left=len(cells[0])))


def detector_text(detector: OODDetector) -> str:
    """Say in two lines what a detector is made of and where its threshold lies."""
    tuned = f" ({len(detector.tuned_rows):,} tuned)" if detector.tuned_rows else ""
    negatives = f"{len(detector.negative_prompts):,} negative labels{tuned}"
    size = (
        f"{len(detector.class_names)} class{'es' * (len(detector.class_names) > 1)}, "
        f"{negatives if detector.negative_prompts else 'no texts'}"
    )
    found = detector.calibration
    if detector.threshold is None:
        threshold = "no threshold yet: `synood calibrate` sets one"
    elif found is None:
        threshold = f"threshold {detector.threshold:.2f}"
    else:
        own = "" if found.groups is None else f" ({len(found.groups.own)} classes have their own)"
        threshold = (
            f"threshold {detector.threshold:.2f}{own} keeps {100 * found.tpr_reached:.1f} % of "
            f"{found.images} in-distribution images"
        )
        if found.scores is not None:
            threshold += f" and on average at least {100 * found.tpr_wanted:g} % of new ones"
    return f"{size}\n{threshold}\n"
