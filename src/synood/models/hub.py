"""The model hub: what the local cache holds, whether the hub answers, and what its errors mean."""

from __future__ import annotations

import errno
import re
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from synood.errors import CheckpointError
from synood.files import sha256_file
from synood.models.catalog import pinned

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

PICKLE = "pytorch_model.bin"
PROBE_SECONDS = 5.0  # for the hub to answer before it counts as unreachable
_SHA256 = re.compile("[0-9a-f]{64}")
_probes: dict[str, tuple[float, str | None]] = {}  # endpoint -> when it was asked, and the trouble


class HubError(CheckpointError):
    """A checkpoint that cannot be fetched from the hub: no network, no access, no such revision."""


class NotCachedError(HubError):
    """A file that is not in the local cache while the hub cannot be reached."""


class MissingFileError(CheckpointError):
    """A file that a checkpoint does not have."""


def cached_commit(repo_id: str, revision: str | None = None) -> str | None:
    """Return the commit that `revision` names in the local hub cache.

    None means the catalog's, else the default branch. Neither library says any longer which commit
    it loaded, and a branch alone would let two versions of a checkpoint pass for one. A revision
    the cache has no name for is a commit itself.
    """
    revision = pinned(repo_id, revision)
    name = _cache_folder(repo_id) / "refs" / (revision or "main")
    return name.read_text(encoding="ascii").strip() if name.is_file() else revision


def cached_files(repo_id: str, revision: str | None = None) -> dict[str, Path]:
    """Return the files of a hub repository in the local cache by name, sorted."""
    commit = cached_commit(repo_id, revision)
    if commit is None:
        return {}
    root = _cache_folder(repo_id) / "snapshots" / commit
    found = sorted(path for path in root.rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix(): path for path in found}


def cached_weights(repo_id: str, revision: str | None = None) -> dict[str, str]:
    """Return the SHA-256 of each weights file in the local cache by name.

    A large file is stored there under its SHA-256; others are hashed.
    """
    weights = {
        name: path.resolve()
        for name, path in cached_files(repo_id, revision).items()
        if name.endswith((".safetensors", PICKLE))
    }
    return {
        name: path.name if _SHA256.fullmatch(path.name) else sha256_file(path)
        for name, path in weights.items()
    }


@contextmanager
def hub_access(source: str | Path, revision: str | None) -> Iterator[None]:
    """Load from the hub, or from the cache alone where the hub cannot be reached.

    Without this the libraries ask an unreachable hub again and again for each file.

    Raises:
        HubError: the hub cannot be reached and the cache holds nothing of `source`.
    """
    if Path(source).is_dir():
        yield
        return
    from huggingface_hub import constants

    if not constants.HF_HUB_OFFLINE and _trouble() is None:
        yield
        return
    if _looks_like_id(source) and not cached_files(str(source), revision):
        raise NotCachedError(_not_cached([(str(source), revision)]))
    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def check_available(checkpoints: Iterable[tuple[str, str | None]]) -> None:
    """Raise one `HubError` naming all checkpoints that can neither be fetched nor are cached.

    `checkpoints` are pairs of a source and a revision.
    """
    hub = [pair for pair in checkpoints if not Path(pair[0]).is_dir() and _looks_like_id(pair[0])]
    missing = [(source, rev) for source, rev in hub if not cached_weights(source, rev)]
    if missing and _trouble() is not None:
        raise HubError(_not_cached(missing))


def explained(error: BaseException, source: str | Path, revision: str | None) -> HubError | None:
    """Return a library's error in words that say what to do, if the hub or the cache caused it."""
    from huggingface_hub import errors

    unanswered = False
    for cause in _causes(error):
        if isinstance(cause, errors.LocalEntryNotFoundError | errors.OfflineModeIsEnabled):
            if _trouble() is not None:
                return NotCachedError(_not_cached([(str(source), revision)]))
            unanswered = True
        reason = _refusal(cause, source, revision) or _broken(cause)
        if reason:
            return HubError(f"{source}: {reason}")
    if unanswered:
        return HubError(f"{source}: {_interrupted('no answer')}")
    if _looks_like_id(source) and _trouble() is not None:
        said = (str(error).strip() or type(error).__name__).splitlines()[0]
        return HubError(f"{_not_cached([(str(source), revision)])} ({said})")
    return None


def _refusal(error: BaseException, source: str | Path, revision: str | None) -> str | None:
    """Say what an error of the hub itself means."""
    from huggingface_hub import constants, errors

    page = f"{constants.ENDPOINT}/{source}"
    if isinstance(error, errors.GatedRepoError):
        return f"access is granted on request: accept the terms at {page}, then `hf auth login`"
    if isinstance(error, errors.RevisionNotFoundError):
        return f"has no revision {revision!r}; {page}/commits/main lists them"
    if isinstance(error, errors.RepositoryNotFoundError):
        return (
            f"{constants.ENDPOINT} has no such repository, or it is private; check the id, or log "
            "in with `hf auth login`"
        )
    if isinstance(error, errors.EntryNotFoundError):
        return None
    if isinstance(error, errors.HfHubHTTPError):
        status = error.response.status_code
        return f"{constants.ENDPOINT} answered HTTP {status}; give the command again later"
    return None


def _interrupted(reason: str) -> str:
    from huggingface_hub import constants

    return (
        f"the connection to {constants.ENDPOINT} broke ({reason}); give the command again, what "
        "was fetched is kept"
    )


def _broken(error: BaseException) -> str | None:
    """Say what an error of the connection or of the disk means."""
    import httpx2
    from huggingface_hub import constants

    number = error.errno if isinstance(error, OSError) else None
    if isinstance(error, httpx2.TransportError):
        return _interrupted(type(error).__name__)
    if number in (errno.ENOSPC, errno.EDQUOT):
        return (
            f"the disk of {constants.HF_HUB_CACHE} is full; free some space, or set HF_HOME to a "
            "folder on another disk"
        )
    if number in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{constants.HF_HUB_CACHE} cannot be written to; set HF_HOME to another folder"
    return None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        seen.append(error)
        yield error
        error = error.__cause__ or error.__context__


def _not_cached(missing: Iterable[tuple[str, str | None]]) -> str:
    """Say why checkpoints cannot be fetched, and the commands that fetch them elsewhere."""
    from huggingface_hub import constants

    pairs = [(source, pinned(source, revision)) for source, revision in missing]
    sources = ", ".join(source for source, _ in pairs)
    commands = "; ".join(
        f"hf download {source}{f' --revision {revision}' if revision else ''}"
        for source, revision in pairs
    )
    return (
        f"{sources}: no complete checkpoint in the local cache {constants.HF_HUB_CACHE}, and "
        f"{_trouble()}; where there is a network, run: {commands} - and copy the cache here"
    )


def _trouble() -> str | None:
    """Say why the hub cannot be asked, or None where it answers; failures are tried again later."""
    import httpx2  # not at the top: scoring with an embedded bundle needs no network
    from huggingface_hub import constants, get_session

    if constants.HF_HUB_OFFLINE:
        return "offline mode is on (HF_HUB_OFFLINE)"
    endpoint, now = constants.ENDPOINT, time.monotonic()
    asked, trouble = _probes.get(endpoint, (-1.0, ""))
    if trouble is None or (asked >= 0 and now - asked < 60):
        return trouble
    try:
        get_session().head(endpoint, timeout=PROBE_SECONDS)
        trouble = None
    except httpx2.HTTPError as error:
        trouble = f"{endpoint} is not reachable ({error or type(error).__name__})"
    _probes[endpoint] = now, trouble
    return trouble


def _looks_like_id(source: str | Path) -> bool:
    """Whether a source can be a hub id: OWNER/NAME, or a name alone."""
    return re.fullmatch(r"[\w.-]+(/[\w.-]+)?", str(source)) is not None


def _cache_folder(repo_id: str) -> Path:
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    return Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=repo_id, repo_type="model")
