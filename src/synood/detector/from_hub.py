"""Detectors on the Hugging Face hub: an id "owner/name" where the directory of one may stand."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from synood.detector._load import CONFIG, FORMAT, MODEL, NEGATIVES
from synood.errors import CheckpointError, InputError
from synood.files import read_bounded, readable
from synood.models.checkpoints import load_file
from synood.models.hub import HubError, MissingFileError

_ID = re.compile(r"([a-z0-9][\w.-]*/[a-z0-9][\w.-]*)(?:@(\S+))?", re.ASCII | re.IGNORECASE)
_MARK = re.compile(rf'"format"\s*:\s*"{FORMAT}"'.encode())
_CONFIG_BYTES = 2**26  # of a config; one of 100,000 classes has 4 MB


class Located(NamedTuple):
    """Where the files of a detector lie, and the folder that their links may lead into."""

    directory: Path
    root: Path
    is_fetched: bool


def located(source: str | Path, revision: str | None = None) -> Located:
    """Return where a detector lies, fetching one of the hub into the local cache.

    What exists here is a path, and so is a new name in a folder that exists; "owner/name" is an id
    otherwise, and "owner/name@revision" always. Only the three files that are read are fetched,
    the large ones after `config.json` has shown that it is a detector.

    Raises:
        CheckpointError: the hub has no such detector; as a `HubError` where it cannot be asked.
        InputError: there is a revision for a directory, or two of them.
    """
    path = Path(source)
    found = _ID.fullmatch(path.as_posix())
    named = found[2] if found else None
    if path.exists() or not found or (path.parent.exists() and not (named or revision)):
        if revision is not None:
            raise InputError(f"{readable(path)}: a revision needs a detector of the hub, by its id")
        return Located(path, path, False)
    if named and revision and named != revision:
        raise InputError(f"{source}: has a revision in its name already, not {revision!r}")
    directory = _fetched(found[1], revision or named)
    return Located(directory, directory.parents[1], True)


def _fetched(repo_id: str, revision: str | None) -> Path:
    """Return the folder of a commit in the hub's cache with the files of a detector."""
    try:
        config = load_file(repo_id, CONFIG, revision)
        if not _MARK.search(read_bounded(config, _CONFIG_BYTES)):
            raise CheckpointError(
                f"{repo_id}: the repository holds no synood detector (its {CONFIG} is another "
                "library's); `synood models` says how to use an encoder of the hub"
            )
        for name in (MODEL, NEGATIVES):
            load_file(repo_id, name, config.parent.name)  # of the same commit
    except MissingFileError as error:
        raise CheckpointError(
            f"{repo_id}: the repository holds no synood detector ({error})"
        ) from None
    except HubError as error:
        raise type(error)(f"{error} (there is no directory {repo_id} either)") from None
    return config.parent
