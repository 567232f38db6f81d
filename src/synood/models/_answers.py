"""Answers of a model stored on disk as they arrive, so that no question is paid for twice."""

from __future__ import annotations

import json
import os
from hashlib import sha256
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from synood.files import cache_folder

if TYPE_CHECKING:
    from PIL.Image import Image


def answers_folder() -> Path:
    """Return the folder of kept answers in the user's cache."""
    return cache_folder() / "answers"


def image_key(image: Image, *context: str) -> str:
    """Hex SHA-256 over the pixels of an image and the texts that an answer depends on."""
    digest = sha256(f"{image.mode} {image.size}".encode())
    digest.update(image.tobytes())
    for text in context:
        digest.update(b"\0" + text.encode())
    return digest.hexdigest()


class Answers:
    """A JSONL file of {"key", "answer"}, appended to line by line; processes may share it.

    Each line is written at once and in one piece, so a kill loses only the requests under way. A
    line cut short, by a full disk for example, is skipped when the file is read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = Lock()
        self._known = {**_read(_old_place(path)), **_read(path)}

    def get(self, key: str) -> str | None:
        """Return the answer stored under `key`, if there is one."""
        return self._known.get(key)

    def keep(self, key: str, answer: str) -> None:
        """Store an answer."""
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


def _old_place(path: Path) -> Path:
    """Where answers lay before SYNOOD_CACHE and the cache folder of macOS were respected."""
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(cache) / "synood" / "answers" / path.name


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
