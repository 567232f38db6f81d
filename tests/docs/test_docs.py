"""The pages name what is there: links, commands, options, files, modules, functions, fields.

Commands are parsed by the command line itself and not run.
"""

from __future__ import annotations

import ast
import re
import shlex
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING, NamedTuple, get_type_hints

import pytest
from cyclopts import CycloptsError

from synood import OODDetector
from synood.cli.app import app
from synood.cli.usage import usage_message, with_standard_input
from synood.settings import Recipe

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from _pytest.mark import ParameterSet

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "synood"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
NOTICES = [ROOT / name for name in ("CHANGELOG.md", "THIRD_PARTY_NOTICES.md")]
RESULTS = sorted((ROOT / "docs" / "results").glob("*.md"))

COMMANDS = {name for name in app if not name.startswith("-")}
SECTIONS = {
    name: {field.name for field in fields(kind)}
    for name, kind in get_type_hints(Recipe).items()
    if is_dataclass(kind)
}
OTHERS = {"scripts/download/download.py"}  # a file of another project
OUR_FOLDERS = ("src/", "tests/", "tools/", "perf/", "docs/", "synood/")


class Block(NamedTuple):
    """A fenced block: its language, and its text with continued lines joined."""

    language: str
    text: str


@cache
def prose(page: Path) -> str:
    """The page without its fenced blocks."""
    return re.sub(r"^ *```.*?^ *```$", "", page.read_text("utf-8"), flags=re.M | re.S)


def blocks(page: Path) -> list[Block]:
    found = re.findall(r"^ *```(\w*)\n(.*?)^ *```$", page.read_text("utf-8"), flags=re.M | re.S)
    return [Block(language, joined(text)) for language, text in found]


def joined(text: str) -> str:
    """Put a command on one line: after a backslash, and where a line begins with an option."""
    return re.sub(r"\s*\\?\n\s+(?=--)|\s*\\\n\s*", " ", text)


def spans(page: Path) -> list[str]:
    """The `code` within the prose, each on one line."""
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose(page))]


def all_of(pages: Sequence[Path], find: Callable[[Path], Sequence[object]]) -> list[ParameterSet]:
    """Each finding on each page, for parametrize, named by its page."""
    return [
        pytest.param(page, item, id=f"{page.name}-{str(item)[:50]}")
        for page in pages
        for item in dict.fromkeys(find(page))
    ]


def links(page: Path) -> list[str]:
    found = re.findall(r"\]\(([^)\s]+)\)", prose(page))
    return [link for link in found if "://" not in link]


@pytest.mark.parametrize(("page", "link"), all_of([*PAGES, *NOTICES, *RESULTS], links))
def test_links_lead_somewhere(page, link):
    path, _, anchor = link.partition("#")
    target = page.parent / path if path else page
    assert target.exists()
    if anchor:
        headings = re.findall(r"^#+ (.+)$", target.read_text("utf-8"), flags=re.M)
        assert anchor in {
            re.sub(r"[^\w -]", "", line).lower().replace(" ", "-") for line in headings
        }


def commands(page: Path) -> list[str]:
    """The synood commands in the page's fenced blocks."""
    shell = [block.text for block in blocks(page) if block.language != "python"]
    lines = [line.split(" # ")[0] for text in shell for line in text.splitlines()]
    found = [re.search(r"(?:^|\s)synood ([a-z].*)", line) for line in lines]
    return [match[1].strip() for match in found if match]


def arguments(command: str) -> list[str]:
    """The command's words, with a number where the shell would compute one."""
    return shlex.split(re.sub(r"\$\(\(.*?\)\)", "1", command).translate({91: " ", 93: " "}))


@pytest.mark.parametrize(("page", "command"), all_of(PAGES, commands))
def test_commands_are_understood(page, command):
    try:
        app.parse_args(
            with_standard_input(arguments(command)), exit_on_error=False, print_error=False
        )
    except CycloptsError as error:
        pytest.fail(f"{page.name}: synood {command}: {usage_message(error)}")


def short_commands(page: Path) -> list[str]:
    """The commands within the prose, which may leave arguments out."""
    return [span.removeprefix("synood ") for span in spans(page) if span.startswith("synood ")]


@pytest.mark.parametrize(("page", "command"), all_of(PAGES, short_commands))
def test_commands_in_the_text_exist_with_their_options(page, command):
    words = [word.strip("[].,") for word in command.split()]
    assert words[0] in COMMANDS
    known = options_of(words[0])
    assert [word for word in words if word.startswith("--") and word not in known] == []


def options(page: Path) -> list[str]:
    return [match[0] for span in spans(page) if (match := re.match(r"--[a-z][a-z0-9-]+", span))]


@pytest.mark.parametrize(("page", "option"), all_of(PAGES, options))
def test_options_in_the_text_exist(page, option):
    assert any(option in options_of(name) for name in COMMANDS)


@cache
def options_of(command: str) -> set[str]:
    """The options of a command and of the commands below it."""
    found = {"--help"}
    for part in (app[command], *(app[command][name] for name in app[command] if name[0] != "-")):
        if part.default_command is not None:
            found.update(
                name for item in part.assemble_argument_collection() for name in item.names
            )
    return found


def test_what_does_not_exist_is_noticed():
    with pytest.raises(CycloptsError, match="outt"):
        app.parse_args(["fit", "photos/", "--outt", "x"], exit_on_error=False, print_error=False)
    assert "--outt" not in options_of("fit") | options_of("cache")
    assert {"--out", "--workers", "--set"} <= options_of("fit")
    assert "--older-than" in options_of("cache")
    assert not defines(PACKAGE / "files.py", "nowhere")
    assert "fit photos/ --out run/" in commands(ROOT / "README.md")


def scripts(page: Path) -> list[str]:
    """The page's commands that start a script of this repository."""
    text = "\n".join([*spans(page), *(block.text for block in blocks(page))])
    return re.findall(r"python3? ((?:perf|tools)/\w+\.py(?: [^#\n]*)?)", text)


@pytest.mark.parametrize(("page", "command"), all_of(PAGES, scripts))
def test_scripts_have_their_options(page, command):
    script, *words = command.split()
    text = (ROOT / script).read_text("utf-8")
    assert [word for word in words if word.startswith("--") and f'"{word}"' not in text] == []


def files(page: Path) -> list[str]:
    """Files of this repository that the text names."""
    ours = [span for span in spans(page) if span.startswith(OUR_FOLDERS) and " " not in span]
    modules = [span for span in spans(page) if re.fullmatch(r"[\w/]+\.py", span)]
    return [name for name in (*ours, *modules) if name not in OTHERS]


def located(name: str) -> list[Path]:
    """Where a file lies that a page names from the repository, `src/` or the package."""
    return [path for base in (ROOT, PACKAGE.parent, PACKAGE) for path in base.glob(name)]


@pytest.mark.parametrize(("page", "name"), all_of(PAGES, files))
def test_files_exist(page, name):
    assert located(name)


def notice_files(page: Path) -> list[str]:
    return [span for span in spans(page) if span.startswith("src/")]


@pytest.mark.parametrize(("page", "name"), all_of(NOTICES, notice_files))
def test_files_with_owners_exist(page, name):
    assert (ROOT / name).exists()


def modules(page: Path) -> list[str]:
    text = "\n".join([*spans(page), *(block.text for block in blocks(page))])
    return re.findall(r"(?<![\w./])((?:synood|tools)(?:\.\w+)+)", text)


@pytest.mark.parametrize(("page", "name"), all_of(PAGES, modules))
def test_modules_exist(page, name):
    parts = name.split(".")
    base = PACKAGE.parent if parts[0] == "synood" else ROOT
    for count in range(len(parts), 0, -1):
        path = base.joinpath(*parts[:count])
        path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        if path.is_file():
            assert len(parts) - count <= 1
            assert count == len(parts) or defines(path, parts[-1])
            return
    pytest.fail(f"no module {name}")


def functions(page: Path) -> list[tuple[str, str]]:
    """Pairs of a file and what the text says is in it, written as `file.py`: `name`."""
    text = " ".join(prose(page).split())
    return re.findall(r"`([\w/]+\.py)`: `(\w+)`", text)


@pytest.mark.parametrize(("page", "pair"), all_of(PAGES, functions))
def test_functions_are_where_the_text_says(page, pair):
    file, name = pair
    assert any(defines(path, name) for path in located(file))


def defines(path: Path, name: str) -> bool:
    """Whether a module defines or imports a name, on its own or in a class."""
    tree = ast.parse(path.read_text("utf-8"))
    defined = {getattr(node, "name", None) for node in ast.walk(tree)}
    assigned = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    return name in defined | assigned


def recipe_fields(page: Path) -> list[str]:
    text = "\n".join([*spans(page), *commands(page)])
    found = re.findall(rf"(?<![\w./])((?:{'|'.join(SECTIONS)})\.[a-z]\w+)\b(?!\.)", text)
    return [name for name in found if not name.endswith((".jsonl", ".txt"))]  # files


@pytest.mark.parametrize(("page", "name"), all_of(PAGES, recipe_fields))
def test_fields_of_recipes_exist(page, name):
    section, field = name.split(".")
    assert field in SECTIONS[section]


def python_blocks(page: Path) -> list[str]:
    if page.name == "extending.md":  # test_extending.py runs its code
        return []
    return [dedent(block.text) for block in blocks(page) if block.language == "python"]


@pytest.mark.parametrize(("page", "code"), all_of(PAGES, python_blocks))
def test_python_uses_what_a_detector_has(page, code):
    calls = {
        node.attr
        for node in ast.walk(ast.parse(code))
        if isinstance(node, ast.Attribute)
        and getattr(node.value, "id", "") in {"detector", "OODDetector"}
    }
    asks_others = re.search("import fiftyone|tritonclient", code)  # these hold the detector
    assert calls or asks_others
    assert [name for name in calls if not hasattr(OODDetector, name)] == []


def make_targets(page: Path) -> list[str]:
    return re.findall(r"(?:^|`)make ([a-z]+)", page.read_text("utf-8"), flags=re.M)


@pytest.mark.parametrize(("page", "target"), all_of(PAGES, make_targets))
def test_targets_of_make_exist(page, target):
    assert f"\n{target}:" in (ROOT / "Makefile").read_text("utf-8")
