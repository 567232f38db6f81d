"""Publishing a detector on the Hugging Face hub: its files, card and results in one commit.

Nothing of this machine goes along: a folder that the encoder was loaded from is named by its last
part alone. Loading from the hub is `detector/from_hub.py`.
"""

from __future__ import annotations

from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import synood
from synood.deploy.eval_results import EVAL_RESULTS, Measured, read_measured
from synood.detector.card import detector_card
from synood.detector.saving import CONFIG, MODEL, detector_files, is_config
from synood.errors import InputError
from synood.files import read_json, sha256_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from huggingface_hub import HfApi

    from synood.detector.ood_detector import OODDetector

MAIN = "main"
_OF_THE_HUB = {".gitattributes"}  # what a new repository holds


def push(
    detector: OODDetector,
    repo_id: str,
    *,
    private: bool = False,
    revision: str | None = None,
    token: str | None = None,
    commit_message: str | None = None,
    license: str | None = None,
    results: str | Path | None = None,
    dataset: str | None = None,
    overwrite: bool = False,
) -> str:
    """Publish `detector` as the repository `repo_id`; return the address of the commit.

    See `OODDetector.push_to_hub` for the arguments. A detector that is there is replaced with
    `overwrite`, in a new commit; results of other weights go, and files of others stay. The commit
    is refused by the hub if somebody else made one since the repository was looked at.

    Raises:
        InputError: the hub cannot be reached or refuses; what is there is no detector, or would be
            replaced without `overwrite`; it is public and `private` was asked for; `results` are of
            another detector.
    """
    measured = _measured(detector, results, dataset)
    with _explained(repo_id):
        api = _api(token)
        repo_id = api.create_repo(repo_id, private=private or None, exist_ok=True).repo_id
        found, branch = _looked_at(api, repo_id, MAIN), revision or MAIN
        _check_visible(found, repo_id, private)
        is_new = branch != MAIN and _made(api, repo_id, branch)
        if branch != MAIN:
            found = _looked_at(api, repo_id, branch)
        _check_replaced(found, repo_id, overwrite or is_new)
        files = published_files(detector, repo_id, license, measured)
        return _committed(api, repo_id, branch, found, files, commit_message)


def published_files(
    detector: OODDetector,
    repo_id: str,
    license: str | None = None,
    measured: Measured | None = None,
) -> dict[str, bytes]:
    """Return the files of a repository by name: the detector's own, and `.eval_results`."""
    backbone = detector.backbone
    public = replace(detector, encoder=backbone.published())
    card = detector_card(
        detector,
        synood.__version__,
        repo_id,
        license,
        measured.section() if measured else "",
        needs_models=not backbone.is_public,
    )
    return detector_files(public, card) | (measured.files() if measured else {})


def _measured(
    detector: OODDetector, results: str | Path | None, dataset: str | None
) -> Measured | None:
    if results is None:
        if dataset is not None:
            raise InputError("dataset: names the benchmark of results; give `results` too")
        return None
    return read_measured(Path(results), detector, dataset)


def _api(token: str | None) -> HfApi:
    """Return the hub's interface with a token that it accepts."""
    from huggingface_hub import HfApi, constants, get_token

    if constants.HF_HUB_OFFLINE:
        raise InputError("offline mode is on (HF_HUB_OFFLINE): unset it to publish")
    if not (token or get_token()):
        raise InputError(
            "publishing needs an access token of the hub: run `hf auth login`, or set HF_TOKEN "
            f"({constants.ENDPOINT}/settings/tokens makes one; it needs write permission)"
        )
    api = HfApi(token=token, library_name="synood", library_version=synood.__version__)
    api.whoami()  # refuses a token that is no longer valid before anything is made
    return api


@dataclass(frozen=True)
class _Found:
    """A repository as it is before the commit."""

    commit: str
    names: frozenset[str]
    private: bool
    config: Mapping[str, Any] | None  # of the detector that is there

    @property
    def weights(self) -> object:
        """SHA-256 of the weights of the detector that is there."""
        files = (self.config or {}).get("files")
        return files.get(MODEL) if isinstance(files, dict) else None


def _looked_at(api: HfApi, repo_id: str, branch: str) -> _Found:
    info = api.model_info(repo_id, revision=branch)
    names = frozenset(item.rfilename for item in info.siblings or ())
    config = None
    if CONFIG in names:
        with suppress(InputError):  # another library's, unreadable as JSON
            value = read_json(Path(api.hf_hub_download(repo_id, CONFIG, revision=info.sha)))
            config = value if is_config(value) else None
    return _Found(str(info.sha), names, bool(info.private), config)


def _made(api: HfApi, repo_id: str, branch: str) -> bool:
    """Make a branch, which begins as `main` is; return whether it was not there before."""
    from huggingface_hub.errors import HfHubHTTPError

    try:
        api.create_branch(repo_id, branch=branch)
    except HfHubHTTPError as error:
        if error.response.status_code != 409:
            raise
        return False
    return True


def _check_visible(found: _Found, repo_id: str, private: bool) -> None:
    """Refuse a public repository that exists where a private one was asked for."""
    from huggingface_hub import constants

    if private and not found.private:
        raise InputError(
            f"{repo_id}: exists already and is public; make it private at "
            f"{constants.ENDPOINT}/{repo_id}/settings, or choose another name"
        )


def _check_replaced(found: _Found, repo_id: str, overwrite: bool) -> None:
    """Refuse to take a repository of something else, and a detector without `overwrite`."""
    held = sorted(found.names - _OF_THE_HUB)
    if CONFIG in held and found.config is None:
        raise InputError(
            f"{repo_id}: holds a model of another library ({CONFIG}), which would be lost; choose "
            "another name"
        )
    if held and not overwrite:
        what = "a detector" if found.config is not None else repr(held[0])
        raise InputError(
            f"{repo_id}: exists already and holds {what}; choose another name or revision, or "
            "add --overwrite (overwrite=True) to replace it in a new commit"
        )


def _committed(
    api: HfApi,
    repo_id: str,
    branch: str,
    found: _Found,
    files: Mapping[str, bytes],
    message: str | None,
) -> str:
    """Add the files in one commit, and drop results that were measured with other weights."""
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    stale = [
        name
        for name in sorted(found.names - files.keys())
        if name.startswith(EVAL_RESULTS) and found.weights != sha256_bytes(files[MODEL])
    ]
    operations: list[CommitOperationAdd | CommitOperationDelete] = [
        *(CommitOperationAdd(name, data) for name, data in sorted(files.items())),
        *(CommitOperationDelete(name) for name in stale),
    ]
    done = api.create_commit(
        repo_id,
        operations,
        commit_message=message or "Push detector with synood",
        revision=branch,
        parent_commit=found.commit,
    )
    return str(done.commit_url)


@contextmanager
def _explained(repo_id: str) -> Iterator[None]:
    """Turn what the hub and its library say into an `InputError` that says what to do."""
    import httpx2
    from huggingface_hub import errors

    known = (errors.HfHubHTTPError, errors.HFValidationError, httpx2.HTTPError)
    try:
        with _quiet():
            yield
    except InputError:
        raise
    except (*known, ValueError, RuntimeError, OSError) as error:
        cause = next((one for one in _causes(error) if isinstance(one, known)), error)
        raise InputError(f"{repo_id}: {_reason(cause, repo_id)}") from error


def _reason(error: BaseException, repo_id: str) -> str:
    import httpx2
    from huggingface_hub import constants, errors

    if isinstance(error, errors.HfHubHTTPError):
        return _refusal(error.response.status_code, error.server_message or "", repo_id)
    if isinstance(error, httpx2.HTTPError):
        return (
            f"the connection to {constants.ENDPOINT} broke ({type(error).__name__}) before the "
            "commit, so nothing was published; give the command again"
        )
    said = " ".join(str(error).split()) or type(error).__name__
    return said.removeprefix(f"{repo_id}: ")


def _refusal(status: int, said: str, repo_id: str) -> str:
    """Say what an HTTP status of the hub means for who publishes."""
    from huggingface_hub import constants

    known = {
        400: "refuses what it was sent",
        401: "does not accept the access token; run `hf auth login` again, or set HF_TOKEN",
        403: "does not let this access token write there: it needs write permission for "
        f"{repo_id.split('/')[0]}; {constants.ENDPOINT}/settings/tokens shows what it may do",
        404: "has no such repository or revision",
        409: "has another change under way; give the command again",
        412: "has had another commit meanwhile; look at it, and give the command again",
        413: "finds the files too large",
        429: "gets too many requests; wait some minutes and give the command again",
    }
    reason = known.get(status, f"answered HTTP {status}; give the command again later")
    return f"{constants.ENDPOINT} {reason}" + (f" ({' '.join(said.split())})" if said else "")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the library's progress bars off the screen."""
    from huggingface_hub.utils import (  # type: ignore[attr-defined]
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    disabled = are_progress_bars_disabled()
    if not disabled:
        disable_progress_bars()
    try:
        yield
    finally:
        if not disabled:
            enable_progress_bars()
