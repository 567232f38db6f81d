"""Loading checkpoints of transformers and diffusers completely or not at all, and fingerprints.

Both libraries fill missing weights with random numbers and only warn; here that is an error.
Weights are read from safetensors, except for checkpoints of the catalog that only have a pickle: it
is hashed first and read with torch's weights-only loader.
"""

from __future__ import annotations

import logging
import re
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from httpx2 import HTTPError

from synood.errors import CheckpointError, InputError
from synood.files import fingerprint, read_json, sha256_file
from synood.models.catalog import known_files, pinned
from synood.models.hub import (
    PICKLE,
    HubError,
    MissingFileError,
    NotCachedError,
    cached_commit,
    cached_files,
    explained,
    hub_access,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

NO_SAFETENSORS = (
    "no complete checkpoint there: no weights as safetensors, and a pickle is not opened; name a "
    "revision that has them (often refs/pr/1), or convert them as docs/models.md shows"
)
FINGERPRINTED = frozenset({".json", ".txt", ".safetensors"})
_WITHOUT = re.compile("(no|have a) file named [^ ]*safetensors")  # as both libraries say it


def load_model(
    model_class: Any,  # noqa: ANN401 - a transformers or diffusers class, both untyped here
    source: str | Path,
    *,
    device: str,
    subfolder: str = "",
    revision: str | None = None,
    **options: Any,  # noqa: ANN401 - passed on to from_pretrained
) -> Any:  # noqa: ANN401
    """Load a frozen model in evaluation mode from a directory or hub id.

    `options` go to `from_pretrained`; the precision is `dtype` in transformers and `torch_dtype`
    in diffusers.
    Raises `CheckpointError` when the checkpoint cannot be read, lacks weights of the model, or has
    a file whose hash is not the catalog's.
    """
    _refuse_strays(source, subfolder)
    pickled = subfolder == "" and PICKLE in known_files(source, revision)
    try:
        model, gaps = load_part(
            model_class.from_pretrained,
            _checked_pickle(source, revision) if pickled else source,
            subfolder=subfolder,
            revision=revision,
            use_safetensors=not pickled,
            output_loading_info=True,
            **options,
        )
    except CheckpointError as error:
        if not isinstance(error, HubError) and _WITHOUT.search(str(error)):
            raise CheckpointError(f"{_place(source, subfolder)}: {NO_SAFETENSORS}") from error
        raise
    _refuse_altered(source, subfolder, revision)
    _refuse_gaps(_place(source, subfolder), gaps)
    return model.to(device).requires_grad_(False).eval()


def _refuse_strays(source: str | Path, subfolder: str) -> None:
    """Refuse a shard index that names files in other folders, which the libraries would open."""
    folder = Path(source) / subfolder
    for path in sorted(folder.glob("*.index.json")) if folder.is_dir() else ():
        index = read_json(path)
        names = index.get("weight_map") if isinstance(index, dict) else None
        if not isinstance(names, dict) or any(
            not isinstance(name, str) or Path(name).name != name for name in names.values()
        ):
            raise CheckpointError(f"{path}: names shards outside its folder; download it again")


def _checked_pickle(source: str | Path, revision: str | None) -> Path:
    """Return the folder of the hub cache with a verified pickle and its configuration.

    Given the id of such a checkpoint, transformers would ask a conversion service on the hub in the
    background; given a folder it does not.
    """
    load_file(source, "config.json", revision)
    return load_file(source, PICKLE, revision).parent


def load_file(source: str | Path, name: str, revision: str | None = None) -> Path:
    """Return the path of a file of a directory or hub repository, verified if its hash is known."""
    if Path(source).is_dir():
        if not (Path(source) / name).is_file():
            raise MissingFileError(f"{source}/{name}: missing; the checkpoint is incomplete")
        return Path(source) / name
    from huggingface_hub import hf_hub_download

    path = Path(load_part(hf_hub_download, source, revision=revision, filename=name))
    expected = known_files(source, revision).get(name)
    if expected is not None:
        _check_hash(path, expected, f"{source}/{name}")
    return path


def first_file(
    source: str | Path, names: tuple[str, ...], revision: str | None = None
) -> Path | None:
    """Return the first of several files that a checkpoint has, or None; see `load_file`."""
    for name in names:
        try:
            return load_file(source, name, revision)
        except (MissingFileError, NotCachedError):
            continue
    return None


def load_folder(source: str | Path, names: tuple[str, ...], revision: str | None = None) -> Path:
    """Return the directory of a checkpoint; from the hub, files are fetched by pattern."""
    if Path(source).is_dir():
        return Path(source)
    from huggingface_hub import snapshot_download

    folder = load_part(snapshot_download, source, revision=revision, allow_patterns=list(names))
    _refuse_altered(source, "", revision)
    return Path(folder)


def import_optional(library: str, extra: str) -> Any:  # noqa: ANN401 - a library, untyped here
    """Import a library of an extra; an `InputError` says how to install it."""
    try:
        return import_module(library)
    except (ImportError, RuntimeError) as error:  # torchvision raises RuntimeError
        raise InputError(
            f"{library} cannot be imported ({error}); it needs torchvision: "
            f"pip install 'synood[{extra}]'"
        ) from None


def load_part(
    loader: Callable[..., Any],
    source: str | Path,
    *,
    subfolder: str = "",
    revision: str | None = None,
    **options: Any,  # noqa: ANN401 - passed on to the loader
) -> Any:  # noqa: ANN401
    """Call a library's loader, without its progress bars and reports.

    Where no `revision` is asked for, it is the one that the catalog pins.

    Raises:
        CheckpointError: there is no complete checkpoint; as a `HubError` where the hub is to blame.
    """
    from huggingface_hub.errors import EntryNotFoundError
    from safetensors import SafetensorError

    revision = pinned(source, revision)
    if revision is not None:
        options["revision"] = revision
    if subfolder:
        options["subfolder"] = subfolder
    try:
        with _quiet(), hub_access(source, revision):
            return loader(str(source), **options)
    except CheckpointError:
        raise
    except (
        *(OSError, ValueError, RuntimeError, ImportError),
        *(SafetensorError, EntryNotFoundError, HTTPError),
    ) as error:
        if (of_hub := explained(error, source, revision)) and not Path(source).is_dir():
            raise of_hub from error
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        kind = MissingFileError if isinstance(error, EntryNotFoundError) else CheckpointError
        place = _place(source, subfolder)
        raise kind(f"{place}: no complete checkpoint there ({reason})") from error


def checkpoint_fingerprint(
    source: str | Path,
    subfolders: tuple[str, ...] = ("",),
    revision: str | None = None,
    suffixes: frozenset[str] = FINGERPRINTED,
) -> str:
    """Return 16 hex digits that change with a checkpoint's files.

    A directory is hashed file by file (weights, configurations, vocabularies directly inside
    `subfolders`, by their `suffixes`); a hub model that was loaded is its id and the commit of
    `revision`.
    """
    root = Path(source)
    if not root.is_dir():
        return fingerprint(str(source), cached_commit(str(source), revision))
    files = [
        (path.relative_to(root).as_posix(), sha256_file(path))
        for folder in subfolders
        for path in sorted((root / folder).iterdir())
        if path.suffix in suffixes
    ]
    return fingerprint(files)


def _refuse_altered(source: str | Path, subfolder: str, revision: str | None) -> None:
    """Verify what was loaded against the catalog's hashes."""
    known = known_files(source, revision)
    files = cached_files(str(source), revision) if known else {}
    for name in sorted(known.keys() & files.keys()):
        if name.rpartition("/")[0] == subfolder:
            _check_hash(files[name], known[name], f"{source}/{name}")


def _check_hash(path: Path, expected: str, name: str) -> None:
    if sha256_file(path) != expected:
        raise CheckpointError(
            f"{name}: altered (its SHA-256 is not the catalog's); delete {path.resolve()} and "
            "download it again, or name another revision"
        )


def _place(source: str | Path, subfolder: str) -> str:
    return f"{source}/{subfolder}" if subfolder else str(source)


def _refuse_gaps(place: str, gaps: Mapping[str, Any]) -> None:
    for kind in ("missing_keys", "mismatched_keys"):
        names = sorted(str(name) for name in gaps.get(kind) or ())
        if names:
            word = kind.removesuffix("_keys")
            raise CheckpointError(
                f"{place}: {len(names)} weights are {word}, the first is {names[0]}; "
                "the checkpoint is incomplete or of another model; download it again"
            )


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the libraries' progress bars and reports: what matters becomes an error here."""
    from transformers.utils import logging as bars

    loggers = [logging.getLogger(name) for name in ("transformers", "diffusers", "huggingface_hub")]
    levels = [logger.level for logger in loggers]
    shown = bars.is_progress_bar_enabled()
    bars.disable_progress_bar()
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        if shown:
            bars.enable_progress_bar()
