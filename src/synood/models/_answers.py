"""Answers of a model kept on disk as they come in, so that none is asked for twice."""

from __future__ import annotations

import json
import os
from hashlib import sha256
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image


def answers_folder() -> Path:
    """Return the user's folder of kept answers: below $XDG_CACHE_HOME or ~/.cache."""
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(cache) / "synood" / "answers"


def image_key(image: Image, *context: str) -> str:
    """Hex SHA-256 over the pixels of an image and the texts that an answer depends on."""
    digest = sha256(f"{image.mode} {image.size}".encode())
    digest.update(image.tobytes())
    for text in context:
        digest.update(b"\0" + text.encode())
    return digest.hexdigest()


class Answers:
    """A JSONL file of {"key", "answer"}, appended to line by line.

    Each line is written in one piece and at once: a kill loses the answers on their way, and a
    line cut short by a full disk or a lost machine is passed over when the file is read again.
    Several processes may append to one file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = Lock()
        self._known = _read(path)

    def get(self, key: str) -> str | None:
        """Return the answer kept under `key`, if there is one."""
        return self._known.get(key)

    def keep(self, key: str, answer: str) -> None:
        """Write an answer to the disk."""
        line = json.dumps({"key": key, "answer": answer}, ensure_ascii=False)
        with self._lock:
            self._known[key] = answer
            self.path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            try:
                # A line break first ends a line that was cut short before.
                os.write(handle, f"\n{line}\n".encode())
            finally:
                os.close(handle)


def _read(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    known = {}
    for line in path.read_bytes().split(b"\n"):
        try:
            row = json.loads(line)
            known[str(row["key"])] = str(row["answer"])
        except (ValueError, KeyError, TypeError):
            continue  # an empty line, or one that was cut short
    return known
