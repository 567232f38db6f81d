"""Nothing that only POSIX systems have is needed: no such module, signal or function of `os`."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import synood
from bundling import tiny_bundle
from small_run import QUICK, make_pictures

ROOT = Path(synood.__file__).parent
POSIX_MODULES = {"crypt", "fcntl", "grp", "nis", "posix", "pty", "pwd", "resource", "spwd",
                 "syslog", "termios", "tty"}  # fmt: skip
POSIX_NAMES = {
    "os": {"chown", "fork", "forkpty", "geteuid", "getgid", "getloadavg", "getpgid", "getuid",
           "killpg", "mkfifo", "nice", "sched_getaffinity", "setsid", "statvfs", "sysconf",
           "uname", "O_DIRECTORY", "O_NOFOLLOW", "O_NONBLOCK"},
    "signal": {"SIGALRM", "SIGCHLD", "SIGHUP", "SIGKILL", "SIGQUIT", "SIGUSR1", "SIGUSR2",
               "pthread_sigmask", "setitimer", "sigwait"},
}  # fmt: skip
BEHIND_A_CHECK = {
    ("memory.py", "sysconf"),
    ("ahead.py", "sched_getaffinity"),
    ("timing.py", "getloadavg"),
    ("processes.py", "sysconf"),
}  # of sys.platform, by hasattr, or of /proc

# Other libraries have their own ways on other systems, so only imports by synood are refused.
GUARD = f"""
import builtins
real = builtins.__import__
def guarded(name, globals=None, *rest, **more):
    own = (globals or {{}}).get("__name__", "").startswith("synood")
    if own and name.partition(".")[0] in {sorted(POSIX_MODULES)}:
        raise ModuleNotFoundError(f"No module named {{name!r}}")
    return real(name, globals, *rest, **more)
builtins.__import__ = guarded
"""


def guarded(code: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    words = [sys.executable, "-c", GUARD + code]
    return subprocess.run(words, capture_output=True, text=True, env=env, check=False)


def command(*words: object) -> str:
    arguments = [str(word) for word in words]
    return f"import sys; from synood.cli import main; sys.exit(main({arguments!r}))"


def test_the_guard_refuses_what_it_should():
    code = "exec('import fcntl', {'__name__': 'synood.made_up'})"
    assert "No module named 'fcntl'" in guarded(code).stderr
    assert guarded("import fcntl").returncode == 0


def test_every_module_is_imported():
    names = [
        ".".join(("synood", *path.relative_to(ROOT).with_suffix("").parts))
        for path in sorted(ROOT.rglob("*.py"))
        if path.name != "__main__.py"
    ]
    result = guarded("\n".join(f"import {name.removesuffix('.__init__')}" for name in names))
    assert result.returncode == 0, result.stderr


def test_help_zero_shot_score_and_fit(tmp_path):
    bundle = tiny_bundle(tmp_path / "bundle", inpainter=True)
    images = make_pictures(tmp_path / "images")
    (tmp_path / "names.txt").write_text("cat\ndog\n")
    for words in (
        ("--help",),
        ("zero-shot", "--classes", tmp_path / "names.txt", "--models", bundle,
         "--share", "0.9", "--out", tmp_path / "detector"),
        ("score", tmp_path / "detector", images, "--out", tmp_path / "scores.txt"),
        ("fit", images, "--models", bundle, "--out", tmp_path / "run", "--batch-size", "2",
         "--set", *QUICK),
        ("status", tmp_path / "run"),
    ):  # fmt: skip
        result = guarded(command(*words))
        assert result.returncode == 0, result.stderr
    assert len((tmp_path / "scores.txt").read_text().splitlines()) == 16


def posix_names(tree: ast.AST) -> set[str]:
    return {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.attr in POSIX_NAMES.get(node.value.id, set())
    }


def test_the_search_for_names_finds_one():
    assert posix_names(ast.parse("os.fork(); signal.SIGKILL; os.getpid()")) == {"fork", "SIGKILL"}


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda path: path.stem)
def test_no_name_of_posix_alone_is_used(path):
    found = {(path.name, name) for name in posix_names(ast.parse(path.read_text("utf-8")))}
    assert found <= BEHIND_A_CHECK
