"""A virtual environment with a few distributions of the running one, linked, so offline."""

from __future__ import annotations

import subprocess
import venv
from importlib.metadata import distribution
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if TYPE_CHECKING:
    from collections.abc import Iterable


def make_environment(place: Path, names: Iterable[str]) -> Path:
    """Make it with these distributions and what they need; return its interpreter."""
    venv.create(place, symlinks=True)  # without pip, which would be there too
    python = place / "bin" / "python"
    told = "import sysconfig; print(sysconfig.get_path('platlib'))"
    found = subprocess.run([python, "-I", "-c", told], capture_output=True, text=True, check=True)
    site_packages = Path(found.stdout.strip())
    assert place in site_packages.parents
    for name in needed(names):
        _link(name, site_packages)
    return python


def needed(names: Iterable[str]) -> list[str]:
    """The distributions and, without extras, those that they require, and so on."""
    found: dict[str, None] = {}
    todo = [*names]
    while todo:
        name = canonicalize_name(todo.pop())
        if name not in found:
            found[name] = None
            wanted = map(Requirement, distribution(name).requires or ())
            todo += [one.name for one in wanted if not one.marker or one.marker.evaluate()]
    return sorted(found)


def _link(name: str, site_packages: Path) -> None:
    """Link each file of a distribution, but for scripts and compiled modules."""
    for file in distribution(name).files or ():
        target = Path(str(file.locate()))
        if ".." in file.parts or "__pycache__" in file.parts or not target.is_file():
            continue
        link = site_packages.joinpath(*file.parts)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(target)


def installed(python: Path) -> list[str]:
    """What an environment says that it has."""
    code = (
        "from importlib.metadata import distributions as all; "
        "print(*sorted(d.metadata['Name'].lower() for d in all()))"
    )
    return subprocess.run(
        [python, "-I", "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()


def imports(python: Path, module: str) -> bool:
    """Whether an environment has a module."""
    done = subprocess.run(
        [python, "-I", "-c", f"import {module}"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0 or f"No module named '{module}'" in done.stderr, done.stderr
    return done.returncode == 0
