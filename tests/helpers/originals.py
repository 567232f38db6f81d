"""Functions of the authors' public code, run on the arrays of a test.

The repositories are not part of this project. SYNOOD_ORIGINALS names a folder that holds clones of
them, called OWNER+NAME or OWNER+NAME/repo (bare or not); only the functions and classes that a test
names are read out of a file and defined, so that nothing else of it runs.
"""

from __future__ import annotations

import ast
import os
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

MISSING = "the authors' code is not at hand: clone it into a folder and set SYNOOD_ORIGINALS"


def clone_of(repository: str) -> Path | None:
    """Where a repository lies, or None where it is not at hand."""
    root = os.environ.get("SYNOOD_ORIGINALS")
    name = repository.replace("/", "+")
    for place in () if root is None else (Path(root, name, "repo"), Path(root, name)):
        if place.is_dir():
            return place
    return None


def shown(repository: str, path: str) -> str:
    """Return the text of a file."""
    command = ["git", "-C", str(clone_of(repository)), "show", f"HEAD:{path}"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def taken(repository: str, path: str, names: tuple[str, ...], **given: Any) -> SimpleNamespace:
    """Define some functions and classes of a file, with `given` as what it imports."""
    wanted = [
        node
        for node in ast.parse(shown(repository, path)).body
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name in names
    ]
    assert {node.name for node in wanted} == set(names), path
    space: dict[str, Any] = {"torch": torch, "np": np, "nn": torch.nn, **given}
    future = ast.parse("from __future__ import annotations").body
    code = compile(ast.Module([*future, *wanted], []), path, "exec")
    exec(code, space)
    return SimpleNamespace(**{name: space[name] for name in names})


def repeat(values: torch.Tensor, pattern: str, **sizes: int) -> torch.Tensor:
    """einops.repeat for patterns that add axes behind the known ones, or widen one of length 1."""
    before, after = (side.split() for side in pattern.split("->"))
    shape = [values.shape[before.index(axis)] if axis in before else 1 for axis in after]
    wide = [
        sizes.get(axis, length if axis in before else 1)
        for axis, length in zip(after, shape, strict=True)
    ]
    return values.reshape(shape).expand(wide)
