"""A hub on this machine: what huggingface_hub asks of one to publish a model and to load it.

It keeps repositories in memory, with commits, branches and large files as the hub does: a commit is
refused where its parent is no longer the last one, and where a large file was not uploaded before.
`break_at` lets requests whose path holds a word fail, by a status or by what befalls connections.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import yaml
from huggingface_hub import constants

from synood.models import hub as synood_hub

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pytest

USER, WRITE, READ = "somebody", "hf_write", "hf_read"
CLOSE = 0  # in place of a status: the connection is closed without an answer
HANG = 1  # in place of a status: no answer until `repair`


class Repository:
    def __init__(self, private: bool) -> None:
        self.private = private
        self.commits: dict[str, dict[str, bytes]] = {}
        self.branches: dict[str, str] = {}
        self.messages: list[str] = []
        self.add("main", {".gitattributes": b"*.safetensors filter=lfs\n"}, "initial commit")

    def add(self, branch: str, files: dict[str, bytes], message: str) -> str:
        before = self.branches.get(branch, "")
        text = repr((before, message, sorted(files.items())))
        commit = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
        self.commits[commit], self.branches[branch] = files, commit
        self.messages.append(message)
        return commit

    def files(self, branch: str = "main") -> dict[str, bytes]:
        return self.commits[self.branches[branch]]

    def found(self, revision: str) -> str | None:
        commit = self.branches.get(revision, revision)
        return commit if commit in self.commits else None


class Hub:
    """The hub's state, and what was asked of it."""

    def __init__(self, user: str = USER) -> None:
        self.user = user
        self.repositories: dict[str, Repository] = {}
        self.large: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.failures: dict[str, int] = {}
        self.endpoint = ""
        self.repaired = threading.Event()

    def break_at(self, word: str, status: int = CLOSE) -> None:
        self.failures[word] = status

    def repair(self) -> None:
        self.failures.clear()
        self.repaired.set()


@contextmanager
def loopback_hub(user: str = USER) -> Iterator[Hub]:
    """Serve a hub on a free port of this machine; both tokens are those of `user`."""
    hub = Hub(user)

    class Handler(_Handler):
        state = hub

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.endpoint = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()


def use_hub(monkeypatch: pytest.MonkeyPatch, endpoint: str, cache: Path, token: str = "") -> None:
    """Let huggingface_hub ask another hub, with another cache and without Xet's storage."""
    template = endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    for name, value in (
        ("ENDPOINT", endpoint),
        ("HUGGINGFACE_CO_URL_TEMPLATE", template),
        ("HF_HUB_CACHE", str(cache)),
        ("HF_TOKEN_PATH", str(cache / "token")),
        ("HF_HUB_OFFLINE", False),
        ("HF_HUB_DISABLE_XET", True),
    ):
        monkeypatch.setattr(constants, name, value)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("HF_TOKEN", token)
    monkeypatch.setattr(synood_hub, "_probes", {})


def hub_environment(endpoint: str, cache: Path, token: str = "") -> dict[str, str]:
    """Return the environment that does the same in another process."""
    return {
        "HF_ENDPOINT": endpoint,
        "HF_HUB_CACHE": str(cache),
        "HF_TOKEN_PATH": str(cache / "token"),
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_XET": "1",
        "NO_PROXY": "127.0.0.1",
        "HF_TOKEN": token,
    }


class _RefusedError(Exception):
    def __init__(self, status: int, said: str = "", code: str = "") -> None:
        self.status, self.said, self.code = status, said, code


class _Handler(BaseHTTPRequestHandler):
    state: Hub

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self._answer()

    do_HEAD = do_POST = do_PUT = do_GET  # noqa: N815 - the names that http.server calls

    def _answer(self) -> None:
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = unquote(urlsplit(self.path).path)
        self.state.asked.append(f"{self.command} {path}")
        for word, status in [*self.state.failures.items()]:
            if word in f"{self.command} {path}":
                if status == HANG:
                    self.state.repaired.wait()
                if status in (CLOSE, HANG):
                    self.close_connection = True
                    return self.connection.close()
                return self._send(status, {"error": "broken on purpose"})
        try:
            self._send(200, self._found(path))
        except _RefusedError as no:
            self._send(no.status, {"error": no.said}, {"X-Error-Code": no.code} if no.code else {})

    def _found(self, path: str) -> object:
        if "/resolve/" in path:
            return self._resolve(*path[1:].split("/resolve/"))
        if path.endswith(".git/info/lfs/objects/batch"):
            self._user()
            return {"transfer": "basic", "objects": [*map(self._batch, self._json()["objects"])]}
        if path.startswith("/upload/"):
            return self._upload(path.removeprefix("/upload/"))
        if path == "/":
            return {}
        action = path.removeprefix("/api/")
        if action == "whoami-v2":
            return {"name": self._user()[0], "type": "user"}
        if action == "repos/create":
            return self._create(self._json())
        if action == "validate-yaml":
            return self._validate(self._json()["content"])
        if not action.startswith("models/"):
            raise _RefusedError(404, "no such page")
        _, owner, name, *rest = action.split("/", 4)
        kind, revision = rest or ("revision", "main")
        return getattr(self, f"_{kind}")(self._repository(f"{owner}/{name}"), revision)

    def _user(self) -> tuple[str, bool]:
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        if token not in (WRITE, READ):
            raise _RefusedError(401, "Invalid user token.")
        return self.state.user, token == WRITE

    def _may_write(self, owner: str) -> None:
        user, writes = self._user()
        if not writes or owner != user:
            raise _RefusedError(
                403, f"You don't have the rights to write in the namespace {owner!r}"
            )

    def _repository(self, repo_id: str) -> Repository:
        found = self.state.repositories.get(repo_id)
        signed_in = "Authorization" in self.headers
        if found is None or (found.private and not signed_in):
            raise _RefusedError(
                401 if not signed_in else 404, "Repository not found", "RepoNotFound"
            )
        return found

    def _create(self, wanted: dict) -> object:
        owner = wanted.get("organization") or self._user()[0]
        self._may_write(owner)
        repo_id = f"{owner}/{wanted['name']}"
        url = {"url": f"{self.state.endpoint}/{repo_id}"}
        if repo_id in self.state.repositories:
            raise _RefusedError(409, json.dumps(url))
        self.state.repositories[repo_id] = Repository(wanted.get("visibility") == "private")
        return url

    def _validate(self, content: str) -> object:
        data = yaml.safe_load(content.split("---\n")[1])
        if data.get("license") not in (None, "apache-2.0", "mit"):
            raise _RefusedError(400, json.dumps([{"message": '"license" must be one of ...'}]))
        return {"errors": [], "warnings": []}

    def _branch(self, repository: Repository, name: str) -> object:
        self._may_write(self.state.user)
        if name in repository.branches:
            raise _RefusedError(409, "Reference already exists")
        repository.branches[name] = repository.branches["main"]
        return {}

    def _revision(self, repository: Repository, revision: str) -> object:
        commit = repository.found(revision)
        if commit is None:
            raise _RefusedError(404, "Invalid rev id", "RevisionNotFound")
        names = sorted(repository.commits[commit])
        return {
            "id": "x",
            "sha": commit,
            "private": repository.private,
            "siblings": [{"rfilename": name} for name in names],
        }

    def _preupload(self, repository: Repository, _revision: str) -> object:
        self._may_write(self.state.user)
        return {
            "files": [
                {
                    "path": item["path"],
                    "uploadMode": "lfs" if item["path"].endswith(".safetensors") else "regular",
                    "shouldIgnore": False,
                }
                for item in self._json()["files"]
            ]
        }

    def _batch(self, item: dict) -> object:
        found = {"oid": item["oid"], "size": item["size"]}
        if item["oid"] in self.state.large:
            return found
        place = f"{self.state.endpoint}/upload/{item['oid']}"
        return {**found, "actions": {"upload": {"href": place}}}

    def _upload(self, oid: str) -> object:
        if hashlib.sha256(self.body).hexdigest() != oid:
            raise _RefusedError(400, "another SHA-256")
        self.state.large[oid] = self.body
        return {}

    def _commit(self, repository: Repository, branch: str) -> object:
        self._may_write(self.state.user)
        lines = [json.loads(line) for line in self.body.splitlines()]
        header = lines[0]["value"]
        if header.get("parentCommit") != repository.branches[branch]:
            raise _RefusedError(412, "A commit has happened since. Please refresh and try again.")
        files = dict(repository.files(branch))
        for line in lines[1:]:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.state.large[value["oid"]]
            else:
                del files[value["path"]]
        commit = repository.add(branch, files, header["summary"])
        address = self.headers["Host"] + self.path.split("/commit/")[0].replace("api/models/", "")
        return {"commitUrl": f"http://{address}/commit/{commit}", "commitOid": commit}

    def _resolve(self, repo_id: str, rest: str) -> bytes:
        repository = self._repository(repo_id)
        commit = next((c for n in rest.split("/") if (c := repository.found(n))), None)
        if commit is None:
            raise _RefusedError(404, "Invalid rev id", "RevisionNotFound")
        name = rest.split("/", 1)[1]
        self.commit = commit
        if name not in repository.commits[commit]:
            raise _RefusedError(404, "Entry not found", "EntryNotFound")
        return repository.commits[commit][name]

    def _json(self) -> dict:
        return json.loads(self.body)

    def _send(self, status: int, answer: object, headers: dict[str, str] | None = None) -> None:
        data = answer if isinstance(answer, bytes) else _as_json(answer)
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if "/resolve/" in self.path and hasattr(self, "commit"):
            self.send_header("X-Repo-Commit", self.commit)
            self.send_header("ETag", f'"{hashlib.sha256(data).hexdigest()}"')
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


def _as_json(answer: object) -> bytes:
    """JSON of an answer; an error that is JSON itself is sent as that."""
    said = answer.get("error") if isinstance(answer, dict) else None
    if isinstance(said, str) and said.startswith("{"):
        return said.encode()
    if isinstance(said, str) and said.startswith("["):
        return json.dumps({"error": "invalid", "errors": json.loads(said)}).encode()
    return json.dumps(answer).encode()
