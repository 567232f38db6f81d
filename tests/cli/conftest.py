"""A detector, other images, and ways to run a command: here, refused, or in its own process."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from bundling import CLASSES
from small_run import make_pictures
from synood import OODDetector
from synood.benchmark.results.results import read_results
from synood.cli import main

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ENV = {**os.environ, "COLUMNS": "100", "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def others(tmp_path_factory):
    root = make_pictures(tmp_path_factory.mktemp("data") / "others", classes=("far",), seed=7)
    return root / "far"


@pytest.fixture(scope="module")
def detector(bundle, images, tmp_path_factory):
    """A zero-shot detector whose threshold keeps half of the images; nobody may write to it."""
    out = tmp_path_factory.mktemp("detectors") / "half"
    made = OODDetector.from_classes(CLASSES, models=bundle, share=0.9)
    made.calibrate(images, tpr=0.5).save_pretrained(out)
    return out


@pytest.fixture
def measured(done, detector, images, others, tmp_path):
    """Run `evaluate` with other options; return the results and what was printed."""

    def act(*words: object):
        out = tmp_path / "measured.json"
        known = ("--id", images, "--ood", f"far={others}", "--out", out, "--overwrite")
        printed = done("evaluate", detector, *words, *known)
        return read_results(out), printed

    return act


@pytest.fixture(scope="session")
def in_process() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the real command in a process of its own."""

    def act(
        *arguments: object, env: Mapping[str, str] | None = None, input: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        words = [sys.executable, "-m", "synood", *map(os.fspath, map(_word, arguments))]
        return subprocess.run(
            words,
            input=input,
            capture_output=True,
            encoding="utf-8",
            errors="surrogateescape",
            env={**ENV, **(env or {})},
            check=False,
        )

    return act


def _word(argument: object) -> str | os.PathLike[str]:
    return argument if isinstance(argument, os.PathLike) else str(argument)


@pytest.fixture
def refused(capsys):
    """Run a command here that is to fail with exit code 2; return its one line."""

    def act(*arguments: object) -> str:
        assert main([str(argument) for argument in arguments]) == 2
        captured = capsys.readouterr()
        lines = [line for line in captured.err.splitlines() if line.startswith("synood: ")]
        assert len(lines) == 1, captured.err
        assert "Traceback" not in captured.err
        assert captured.out == ""
        return lines[0]

    return act


@pytest.fixture
def done(capsys):
    """Run a command here that is to succeed; return what it printed."""

    def act(*arguments: object):
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        assert code == 0, captured.err
        return captured

    return act
