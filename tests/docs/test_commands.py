"""Every block of commands in README and docs runs, page by page, in the order in which it is read.

Small pictures stand where the pages have photographs (tests/helpers/stand_in_photos.py), `run/` is
there already where a page begins with a detector, and the hub is one on this machine. `synood
serve` runs in the background, on a free port in place of 8000, until the page ends. The fast tests
have few words in place of `photo`'s; the slow ones run every page with all of them. What a block
needs beyond that says an HTML comment before it:

    <!-- test: not here, needs ImageNet -->   it is not run; its commands are parsed (test_docs.py)
    <!-- test: slow -->                       it is run with the slow tests
    <!-- test: anew -->                       it is run where there is no run/ yet
    <!-- test: each alone -->                 its lines are alternatives, each in its own folder
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING

import pytest
from filelock import FileLock

from loopback_hub import WRITE, hub_environment, loopback_hub, use_hub
from stand_in_photos import make_bundle, make_features, make_photos
from synood.cli import main
from synood.models.bundles import EMBEDDED

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
ELSEWHERE = {"extending.md": "test_extending.py runs it"}
SETTING_UP = {  # what a command line begins with -> why it is not run
    "make ": ".ci/run runs it",
    "pip install ": "so the tests' environment was made",
    "source ": "likewise",
    "hf auth login": "the hub of the tests knows who asks",
}
RUN_BY_US = ("synood", "printf", "find", "python", "export", "curl")
PORT = ":8000"  # of `synood serve`, where no other is given
_SHELL = re.compile(r"[|<>$*;&']")  # in a line that is given to a shell, and not to `main`
_BLOCK = re.compile(
    r"(?:^ *<!-- test: (?P<marks>.*?) -->\n)?^ *```(?P<language>\w*)\n(?P<text>.*?)^ *```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """A block that can be run: its lines of commands, or Python."""

    line: int
    lines: tuple[str, ...]
    python: bool
    marks: tuple[str, ...]

    @property
    def reason(self) -> str:
        """Why it is not run here; "" where it is."""
        return next((mark for mark in self.marks if mark.startswith("not here")), "")


def blocks(page: Path) -> list[Block]:
    """The page's blocks of commands and of Python; trees, data and output are none."""
    text, found = page.read_text("utf-8"), []
    for match in _BLOCK.finditer(text):
        marks = tuple(re.split(r", (?=slow|anew|each alone)", match["marks"] or ""))
        line = text[: match.start("text")].count("\n") + 1
        if match["language"] == "python":
            found.append(Block(line, (dedent(match["text"]),), True, marks))
        elif match["language"] in ("", "bash"):
            joined = re.sub(r"\s*\\\n\s*", " ", match["text"])
            lines = tuple(filter(None, (row.split(" # ")[0].strip() for row in joined.split("\n"))))
            if lines and lines[0].startswith((*RUN_BY_US, *SETTING_UP)):
                found.append(Block(line, lines, False, marks))
    return found


def runnable(page: Path) -> list[Block]:
    return [] if page.name in ELSEWHERE else [block for block in blocks(page) if not block.reason]


@dataclass(frozen=True)
class World:
    """The folder that readers begin with, and the bundle that is `photo` to them."""

    place: Path
    bundle: Path

    def enter(self, patch: pytest.MonkeyPatch) -> None:
        """Let commands of this process find the bundle, and keep a cache, as users do."""
        patch.setitem(EMBEDDED, "photo", self.bundle)
        patch.setenv("SYNOOD_CACHE", str(self.place.with_name(f"{self.place.name}-cache")))
        patch.setenv("SYNOOD_CACHE_SIZE", "1GB")

    def make(self) -> None:
        """Make the pictures and, by the commands that the pages begin with, a run and results.

        That is the test of `synood fit photos/ --out run/`, which the pages resume.
        """
        make_photos(self.place)
        with pytest.MonkeyPatch.context() as patch:
            self.enter(patch)
            patch.chdir(self.place)
            assert main(["fit", "photos/", "--out", "run/"]) == 0
            sets = ["--id", "held-out/", "--ood", "textures=dtd/"]
            assert main(["evaluate", "run/detector", *sets, "--out", "theirs.json"]) == 0


@pytest.fixture(scope="session")
def worlds(tmp_path_factory):
    """Make a world by whether its bundle is the real one; once for all workers."""
    shared = tmp_path_factory.getbasetemp()
    shared = shared.parent if "PYTEST_XDIST_WORKER" in os.environ else shared

    def make(real: bool) -> World:
        place = shared / ("stand-in-real" if real else "stand-in")
        small = place.with_name("stand-in-bundle")
        world = World(place, EMBEDDED["photo"] if real else small)
        with FileLock(f"{place}.lock"):
            if not real and not small.is_dir():
                make_bundle(small)
            if not (place / "theirs.json").is_file():
                shutil.rmtree(place, ignore_errors=True)
                world.make()
        return world

    return make


class Reader:
    """Somebody who types what a page says, in a folder of their own."""

    def __init__(self, world: World, place: Path, hub: str, patch: pytest.MonkeyPatch) -> None:
        self.world, self.place, self.patch = world, place, patch
        self.names: dict[str, object] = {}
        self.servers: dict[str, subprocess.Popen[str]] = {}  # by ":port"
        self.environment = {
            **os.environ,
            **hub_environment(hub, place.with_name("hub"), WRITE),
            "PATH": f"{_shims(place, world.bundle)}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        }
        self.begin()

    def begin(self, *, with_run: bool = True) -> None:
        """Go to a new folder, with a finished run or without."""
        self.patch.chdir(self.world.place)
        shutil.rmtree(self.place, ignore_errors=True)
        shutil.copytree(self.world.place, self.place)
        for name in ("run-1/detector", "run-2/detector", "my-detector"):
            shutil.copytree(self.place / "run" / "detector", self.place / name)
        (self.place / "demo-out").mkdir()
        shutil.copy(self.place / "theirs.json", self.place / "demo-out" / "results.json")
        if not with_run:
            shutil.rmtree(self.place / "run")
        self.names = make_features(self.place)
        self.patch.chdir(self.place)

    def follow(self, block: Block) -> None:
        """Do what a block says; what fails is shown with its line."""
        if "anew" in block.marks:
            self.begin(with_run=False)
        for line in map(self.at_the_server, block.lines):
            if "each alone" in block.marks:
                self.begin(with_run="anew" not in block.marks)
            if block.python:
                exec(compile(line, f"line {block.line}", "exec"), self.names)
            elif not line.startswith(tuple(SETTING_UP)):
                self.type(line)

    def type(self, line: str) -> None:
        if line.startswith("synood serve "):
            self.serve(line)
            return
        if line.startswith("curl ") and not shutil.which("curl"):
            pytest.skip("no curl here")
        if line.startswith("synood ") and not _SHELL.search(re.sub(r'"[^"]*"', "", line)):
            assert main(shlex.split(line)[1:]) == 0, line
            return
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", re.sub("^curl ", "curl --fail-with-body ", line)],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"

    def serve(self, line: str) -> None:
        """Start a server as a line says, and wait until it listens."""
        process = subprocess.Popen(
            ["bash", "-c", f"exec {line} --port 0"],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=(self.place / "serve.log").open("w"),
            text=True,
        )
        assert process.stdout is not None
        told = process.stdout.readline()
        assert "http://127.0.0.1:" in told, f"{line}\n{(self.place / 'serve.log').read_text()}"
        self.servers[f":{told.strip().rpartition(':')[2]}"] = process

    def at_the_server(self, line: str) -> str:
        """Ask the latest server where a page asks at the usual port."""
        return line.replace(PORT, [PORT, *self.servers][-1])

    def leave(self) -> None:
        """Stop the servers; each answers what it took, and ends well."""
        for process in self.servers.values():
            process.terminate()
        for process in self.servers.values():
            assert process.wait(60) == 0, (self.place / "serve.log").read_text()


def _shims(place: Path, bundle: Path) -> Path:
    """A folder with a `synood` and a `python` that are those of the tests."""
    folder = place.with_name("bin")
    folder.mkdir()
    code = (
        "import sys; from pathlib import Path; from synood.cli import main; "
        "from synood.models.bundles import EMBEDDED; "
        f"EMBEDDED['photo'] = Path({str(bundle)!r}); sys.exit(main())"
    )
    for name, words in (("synood", f'-c "{code}"'), ("python", "")):
        (folder / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {words} "$@"\n')
        (folder / name).chmod(0o755)
    return folder


@pytest.fixture
def reader(worlds, slow, tmp_path, monkeypatch) -> Iterator[Reader]:
    world = worlds(slow)
    world.enter(monkeypatch)
    with loopback_hub("me") as hub:
        use_hub(monkeypatch, hub.endpoint, tmp_path / "hub", WRITE)
        someone = Reader(world, tmp_path / "here", hub.endpoint, monkeypatch)
        yield someone
        someone.leave()


def pages() -> Iterator[object]:
    """Each page with blocks to run, and once more with its slow blocks for the slow tests."""
    for page in PAGES:
        found = runnable(page)
        if any("slow" not in block.marks for block in found):
            yield pytest.param(page, False, id=page.stem)
        if found:
            yield pytest.param(page, True, id=f"{page.stem}-slow", marks=pytest.mark.slow)


@pytest.mark.parametrize(("page", "slow"), [*pages()])
def test_the_commands_of_a_page_run_as_they_are_read(page, slow, reader, capsys):
    for block in runnable(page):
        if slow or "slow" not in block.marks:
            reader.follow(block)


def test_blocks_are_found_and_marked_as_the_first_lines_say():
    readme = [line for block in runnable(PAGES[0]) for line in block.lines]
    assert "synood fit photos/ --out run/" in readme
    for page in PAGES:
        for match in re.finditer(r"<!-- test: (.*?) -->", page.read_text("utf-8")):
            known = r"not here, \w.*|(slow|anew|each alone)(, (slow|anew|each alone))*"
            assert re.fullmatch(known, match[1]), f"{page.name}: {match[0]}"
            after = page.read_text("utf-8")[match.end() :]
            assert re.match(r"\n *```", after), f"{page.name}: {match[0]} is before no block"
    marked = [block.reason for page in PAGES for block in blocks(page) if block.reason]
    assert 5 < len(marked) < 40
