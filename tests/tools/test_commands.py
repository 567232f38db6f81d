"""Every tool starts, and none of them is in the wheel."""

import subprocess
import sys
import tomllib
import zipfile
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COMMANDS = sorted(
    f"{path.parent.name}.{path.stem}"
    for path in (ROOT / "tools").glob("*/*.py")
    if "__main__" in path.read_text(encoding="utf-8")
)


def test_the_one_that_makes_all_starts_from_the_repository():
    call = [sys.executable, "-m", "tools.mini.make", "--help"]
    found = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "--work" in found.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_each_says_how_it_is_called(name, capsys):
    with pytest.raises(SystemExit) as left:
        import_module(f"tools.{name}").main(["--help"])
    assert left.value.code == 0
    assert "usage:" in capsys.readouterr().out


def test_the_wheel_is_made_of_the_package_alone():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["tool"]["hatch"]["build"]["targets"]["wheel"] == {"packages": ["src/synood"]}


@pytest.mark.slow
def test_the_wheel_holds_no_tool(tmp_path):
    build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(tmp_path), "."]
    subprocess.run(build, cwd=ROOT, check=True)
    (wheel,) = sorted(tmp_path.glob("*.whl"))
    with zipfile.ZipFile(wheel) as files:
        tops = {name.partition("/")[0] for name in files.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"synood"}
