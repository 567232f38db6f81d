"""A detector directory that is replaced by a process that is ended half-way."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path


def test_directories_are_exchanged_so_no_instant_is_without_a_detector(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from synood import files as saving\n"
        "Path.replace = lambda *names: os._exit(7)\n"
        "saving.shutil.rmtree = lambda *names, **options: os._exit(9)\n"
        "with saving.replacing_directory(Path(sys.argv[1])) as part: (part / 'new').touch()\n"
    )
    target = tmp_path / "detector"
    target.mkdir()
    (target / "old").touch()
    killed = subprocess.run([sys.executable, "-c", code, str(target)], check=False)
    if killed.returncode == 7 and not sys.platform.startswith("linux"):
        pytest.skip("this system does not exchange directories")
    assert killed.returncode == 9
    assert [path.name for path in target.iterdir()] == ["new"]
