"""One process to a run directory: the kernel's lock, and a note of who holds it.

The lock ends with the process however that ends; a note that a killed process leaves behind locks
nothing. Where a network file system passes locks on (NFS since Linux 2.6.12 does), they hold
between machines as well; where a file system has none, the run is refused.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from synood.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = ".lock"


@dataclass(frozen=True)
class Holder:
    """The process that wrote the note; `born` is its start in the kernel's count, if that tells."""

    pid: int
    host: str
    born: str | None

    def state(self) -> Literal["running", "gone", "elsewhere"]:
        """Say whether the process is alive, which only its own machine can tell."""
        if self.host != socket.gethostname():
            return "elsewhere"
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return "gone"
        except PermissionError:
            pass  # somebody else's, and alive
        # The number may have gone to another process since.
        return "running" if _born(self.pid) == self.born else "gone"


@contextmanager
def locked(root: Path) -> Iterator[None]:
    """Hold the lock of the directory `root`.

    Raises `InputError` when another process holds it, when the directory cannot be written to, and
    where the file system cannot lock.
    """
    try:
        file = (root / NAME).open("a+", encoding="utf-8")
    except OSError as error:
        raise InputError(f"{root}: cannot be used as a run directory ({error.strerror})") from None
    with file:
        _lock(file.fileno(), root)
        file.truncate(0)
        own = Holder(os.getpid(), socket.gethostname(), _born(os.getpid()))
        file.write(json.dumps(asdict(own)) + "\n")
        file.flush()
        try:
            yield
        finally:
            with suppress(OSError):  # a full disk must not hide what ended the run
                file.truncate(0)


def holder(root: Path) -> Holder | None:
    """Read who noted to hold the lock of `root`; it is not asked for. None after an orderly end."""
    try:
        note = json.loads((root / NAME).read_text(encoding="utf-8"))
        return Holder(int(note["pid"]), str(note["host"]), note["born"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _lock(descriptor: int, root: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        who = holder(root)
        name = f"process {who.pid} on {who.host}" if who else "another process"
        raise InputError(
            f"{root}: {name} is running in this directory; wait for it to end"
        ) from None
    except OSError as error:
        raise InputError(
            f"{root}: its file system cannot lock files ({error.strerror}), so a second run could "
            "not be kept out; use a directory on another one"
        ) from None


def _born(pid: int) -> str | None:
    try:
        line = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return line.rpartition(")")[2].split()[19]  # starttime, the 22nd field; a name may hold spaces
