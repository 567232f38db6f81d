"""One process to a run directory: a lock, and a note of which process holds it.

The lock ends with the process however that ends; a note that a killed process leaves behind locks
nothing. Where a network file system passes locks on (NFS since Linux 2.6.12 does), they hold
between machines as well; where a file system has none, the run is refused.
"""

from __future__ import annotations

import ctypes
import json
import os
import socket
import sys
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from filelock import FileLock, Timeout

from synood.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = ".lock"
_QUERY = 0x1000  # PROCESS_QUERY_LIMITED_INFORMATION of Windows
NOTE = ".lock.json"


@dataclass(frozen=True)
class Holder:
    """The process that holds a lock; `born` is its start time in the kernel's count, if known."""

    pid: int
    host: str
    born: str | None

    def state(self) -> Literal["running", "gone", "elsewhere"]:
        """Return whether the process is alive, which only its own machine knows."""
        if self.host != socket.gethostname() or os.name != "posix":
            return "elsewhere"
        if not _is_alive(self.pid):
            return "gone"
        # The number may have gone to another process since.
        return "running" if _born(self.pid) == self.born else "gone"


@contextmanager
def locked(root: Path) -> Iterator[None]:
    """Hold the lock of the directory `root`.

    Raises `InputError` when another process holds it, when the directory cannot be written to, and
    where the file system cannot lock.
    """
    lock = FileLock(root / NAME, timeout=0, fallback_to_soft=False)
    _acquire(lock, root)
    try:
        own = Holder(os.getpid(), socket.gethostname(), _born(os.getpid()))
        (root / NOTE).write_text(json.dumps(asdict(own)) + "\n", encoding="utf-8")
        yield
    finally:
        with suppress(OSError):  # a full disk must not hide what ended the run
            (root / NOTE).unlink(missing_ok=True)
        lock.release()


def holder(root: Path) -> Holder | None:
    """Read the note of who holds the lock of `root`, without asking for the lock.

    None after an orderly end.
    """
    try:
        note = json.loads((root / NOTE).read_text(encoding="utf-8"))
        return Holder(int(note["pid"]), str(note["host"]), note["born"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _acquire(lock: FileLock, root: Path) -> None:
    try:
        lock.acquire()
    except Timeout:
        found = holder(root)
        name = f"process {found.pid} on {found.host}" if found else "another process"
        raise InputError(
            f"{root}: {name} is running in this directory; wait for it to end"
        ) from None
    except PermissionError as error:
        raise InputError(f"{root}: cannot be used as a run directory ({error.strerror})") from None
    except (OSError, NotImplementedError) as error:
        raise InputError(
            f"{root}: its file system cannot lock files ({error}), so a second run could not be "
            "kept out; use a directory on another file system"
        ) from None


def _is_alive(pid: int) -> bool:
    """Whether this machine has a process of that number."""
    if sys.platform == "win32":  # where os.kill(pid, 0) would interrupt the process
        handle = ctypes.windll.kernel32.OpenProcess(_QUERY, False, pid)
        return bool(handle and ctypes.windll.kernel32.CloseHandle(handle))
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # another user's, and alive
    return True


def _born(pid: int) -> str | None:
    try:
        line = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return line.rpartition(")")[2].split()[19]  # starttime, the 22nd field; a name may hold spaces
