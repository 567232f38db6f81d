"""What stands between a user and the hub is named, with what to do, and nothing is asked twice."""

from __future__ import annotations

import errno
import socket
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx2
import pytest
from huggingface_hub import constants, errors

import hub_cache
import tiny
from small_run import make_pictures
from synood.cli.app import main
from synood.errors import CheckpointError
from synood.models import hub
from synood.models._spec import configuration
from synood.models.bundles import load_bundle
from synood.models.checkpoints import load_part
from synood.models.clip import ClipEncoder
from synood.models.hub import HubError
from synood.models.image_text import ImageTextDescriber
from synood.models.inpainting import Inpainter

ANSWERS = {  # repository -> status and code of the hub's errors
    "gated": (403, "GatedRepo"),
    "absent": (401, "RepoNotFound"),
    "unrevised": (404, "RevisionNotFound"),
    "bare": (404, "EntryNotFound"),
}


@contextmanager
def serving_hub():
    """A hub on this machine that has no file and says why."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self):
            asked.append(self.path)
            name = next((name for name in ANSWERS if f"/{name}/" in self.path), None)
            status, code = ANSWERS[name] if name else (200, "")
            self.send_response(status)
            if code:
                self.send_header("X-Error-Code", code)
                self.send_header("X-Repo-Commit", hub_cache.COMMIT)
            self.end_headers()

        do_GET = do_HEAD  # noqa: N815 - the name that http.server calls

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()


def closed_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{one.getsockname()[1]}"


@pytest.fixture
def hub_at(tmp_path, monkeypatch):
    """Sets the hub that the libraries ask, and an empty cache."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))

    def use(endpoint):
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "ENDPOINT", endpoint)
        template = endpoint + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)

    hub._probes.clear()
    yield use
    hub._probes.clear()


LOADERS = [
    ClipEncoder.from_pretrained,
    Inpainter.from_pretrained,
    ImageTextDescriber.from_pretrained,
    lambda source, revision=None: configuration(source, revision),
]


@pytest.mark.parametrize("load", LOADERS)
@pytest.mark.parametrize(
    ("repo", "message"),
    [
        ("some/gated", r"some/gated: access is granted on request: accept the terms at .*hf auth"),
        ("some/absent", "some/absent: .* has no such repository, or it is private"),
        ("some/unrevised", "some/unrevised: has no revision 'v9'; .*/commits/main lists them"),
    ],
)
def test_a_refusal_of_the_hub_is_told_with_what_to_do(hub_at, load, repo, message):
    with serving_hub() as (endpoint, _):
        hub_at(endpoint)
        with pytest.raises(HubError, match=message) as refused:
            load(repo, revision="v9")
    assert len(str(refused.value).splitlines()) == 1


def test_a_repository_without_the_files_is_no_trouble_of_the_hub(hub_at):
    with serving_hub() as (endpoint, _):
        hub_at(endpoint)
        with pytest.raises(CheckpointError, match="some/bare: no checkpoint there") as refused:
            configuration("some/bare", None)
    assert not isinstance(refused.value, HubError)


@pytest.mark.parametrize("load", LOADERS)
def test_a_hub_out_of_reach_is_asked_once_and_what_to_fetch_is_said(hub_at, load, caplog, capfd):
    hub_at(closed_port())
    started = time.monotonic()
    message = (
        "127.0.0.1.* is not reachable .*; where there is a network, run: hf download some/clip"
    )
    for _ in range(2):
        with pytest.raises(HubError, match=f"{message} --revision v1 - and copy the cache here"):
            load("some/clip", revision="v1")
    assert time.monotonic() - started < 5
    assert caplog.records == []
    assert capfd.readouterr().err == ""


def test_a_hub_out_of_reach_is_no_trouble_for_what_is_cached(hub_at, tmp_path):
    encoder = tiny.tiny_clip(tmp_path / "clip")
    expected = ClipEncoder.from_pretrained(encoder).encode_texts(["a cat"])
    hub_cache.put(tmp_path / "cache", "some/clip", encoder)
    hub_at(closed_port())
    found = ClipEncoder.from_pretrained("some/clip", revision="main").encode_texts(["a cat"])
    assert found.tobytes() == expected.tobytes()
    assert constants.HF_HUB_OFFLINE is False


def test_an_incomplete_cache_in_offline_mode_says_what_to_fetch(hub_at, tmp_path, monkeypatch):
    encoder = tiny.tiny_clip(tmp_path / "clip")
    (encoder / "model.safetensors").unlink()
    hub_cache.put(tmp_path / "cache", "some/clip", encoder)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    message = (
        r"some/clip: no .* offline mode is on \(HF_HUB_OFFLINE\); .* run: hf download some/clip -"
    )
    with pytest.raises(HubError, match=message):
        ClipEncoder.from_pretrained("some/clip")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "the disk of .*cache is full"),
        (PermissionError(errno.EACCES, "Permission denied"), "cache cannot be written to"),
        (OSError(errno.EROFS, "Read-only file system"), "cache cannot be written to"),
    ],
)
def test_a_cache_that_takes_no_file_is_named(hub_at, error, message):
    def loader(source, **_):
        try:
            raise error
        except OSError as found:
            raise ValueError("cannot load the image processor") from found

    with serving_hub() as (endpoint, _):
        hub_at(endpoint)
        with pytest.raises(HubError, match=message):
            load_part(loader, "some/clip")


def test_an_error_of_the_hub_itself_is_told_with_its_status(hub_at):
    request = httpx2.Request("HEAD", "https://hub")
    error = errors.HfHubHTTPError("overloaded", response=httpx2.Response(503, request=request))

    def loader(source, **_):
        raise errors.LocalEntryNotFoundError("not found in the cache") from error

    with serving_hub() as (endpoint, _):
        hub_at(endpoint)
        with pytest.raises(HubError, match=r"some/clip: .* answered HTTP 503; give the command"):
            load_part(loader, "some/clip")


def test_a_folder_that_is_not_there_is_no_trouble_of_the_hub(hub_at, tmp_path):
    hub_at(closed_port())
    with pytest.raises(CheckpointError, match="absent: no complete checkpoint there"):
        ClipEncoder.from_pretrained(str(tmp_path / "absent"))


def test_fit_names_all_that_is_missing_before_it_begins(hub_at, tmp_path, capsys):
    hub_at(closed_port())
    images = make_pictures(tmp_path / "photos")
    words = ["fit", images, "--out", tmp_path / "run", "--models", "paper", "--device", "cpu"]
    assert main([str(word) for word in words]) == 2
    said = capsys.readouterr().err
    for part in ("encoder", "inpainter", "classifier", "describer"):
        spec = load_bundle("paper").spec[part]
        assert f"hf download {spec['id']} --revision {spec['revision']}" in said
    assert not (tmp_path / "run" / "select.jsonl").exists()
