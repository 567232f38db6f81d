"""The layout holds: rooms import downwards only, and a leading underscore is private to its folder.

Imports are read from the syntax tree, so those inside functions, those that only the type checker
sees and those by name (`import_module`) count as well. `KNOWN` lists what still breaks a rule; mend
one, and strike its line.
"""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import synood

PACKAGE = Path(synood.__file__).parent
TOOLS = Path(__file__).parents[1] / "tools"

ROOMS = (
    "errors", "arrays", "settings", "files", "artifacts", "progress", "executor",
    "metrics", "scores", "labels", "images", "mini", "models", "features", "synthesis", "tuning",
    "detector", "pipeline", "benchmark", "serving", "deploy", "cli",
)  # fmt: skip
"""The rooms of the package; each may import those before it."""
INNER = {
    "synood.pipeline": (
        "recipe", "overruled", "rundir", "executors", "stages", "overwrite", "run", "scoring",
        "export",
    ),
    "synood.benchmark": (
        "suites", "speed", "results", "protocol", "systems", "report", "experiments",
    ),
}  # fmt: skip
"""The same for the rooms inside a room."""
EXEMPT = {"synood.__main__"}  # with `synood` itself, which names what is public, in no room
HEAVY = {"transformers", "diffusers"}  # imported by adapters and trainers alone

KNOWN: set[str] = set()
"""What breaks a rule today, to be mended. The test fails where a line is no longer true."""
BY_NAME = {
    # OODDetector.fit is what users call; the pipeline that it opens is built on detectors
    "upward: synood.detector._constructors -> synood.pipeline.run",
    # OODDetector.push_to_hub likewise: the hub also gets results, which the benchmark measured
    "upward: synood.detector.ood_detector -> synood.deploy.hub",
}
"""Upward imports by name, at the moment of the call; none but these."""


class Import(NamedTuple):
    """One import: who imports which module, and which name of it (empty for the whole module)."""

    importer: str
    folder: str  # the package that the importer lies in
    module: str
    name: str


def modules(root: Path, top: str) -> dict[str, Path]:
    """Dotted name -> file of every module below `root`."""
    found = {}
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        found[".".join((top, *parts)).removesuffix(".__init__")] = path
    return found


MODULES = modules(PACKAGE, "synood") | modules(TOOLS, "tools")


def imports_of(importer: str, path: Path) -> Iterator[Import]:
    """Read every import of a file, wherever in it."""
    folder = importer if path.name == "__init__.py" else importer.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(importer, folder, alias.name, "")
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                if whole in MODULES:
                    yield Import(importer, folder, whole, "")
                else:
                    yield Import(importer, folder, str(node.module), alias.name)
        elif isinstance(node, ast.ImportFrom):
            yield Import(importer, folder, "a relative import", "")
        elif (
            isinstance(node, ast.Call)
            and getattr(node.func, "id", "") == "import_module"
            and isinstance(named := node.args[0], ast.Constant)
        ):
            yield Import(importer, folder, str(named.value), "")


IMPORTS = [item for name, path in MODULES.items() for item in imports_of(name, path)]


def upward(item: Import, parent: str, rooms: tuple[str, ...]) -> bool:
    """Whether an import goes from one of the rooms of `parent` to a later one, or from none."""
    if not all(name.startswith(f"{parent}.") for name in (item.importer, item.module)):
        return False
    here, there = (
        name.removeprefix(f"{parent}.").split(".")[0] for name in (item.importer, item.module)
    )
    if here not in rooms or there not in rooms:
        return False  # a module in no room has a test of its own
    return rooms.index(there) > rooms.index(here)


def private_elsewhere(item: Import) -> bool:
    """Whether what is imported has a leading underscore and lies in another folder."""
    if not item.module.startswith(("synood", "tools")):
        return False
    parts = [*item.module.split("."), *([item.name] if item.name else [])]
    hidden = next((i for i, part in enumerate(parts) if part[0] == "_" and part[:2] != "__"), None)
    if hidden is None:
        return False
    owner = ".".join(parts[:hidden])  # a package, or the module whose name is private
    if owner in MODULES and MODULES[owner].name != "__init__.py":
        owner = owner.rpartition(".")[0]
    return item.folder != owner and not item.folder.startswith(f"{owner}.")


def broken(rule: str) -> set[str]:
    """Return what breaks a rule, as lines of `KNOWN`."""
    found = set()
    for item in IMPORTS:
        if rule == "upward":
            wrong = upward(item, "synood", ROOMS) or any(
                upward(item, parent, rooms) for parent, rooms in INNER.items()
            )
        elif rule == "private":
            wrong = private_elsewhere(item)
        else:
            wrong = item.module.split(".")[0] in HEAVY and not item.importer.startswith(
                ("synood.models.", "tools.")
            )
        if wrong:
            target = f"{item.module}.{item.name}" if rule == "private" else item.module
            found.add(f"{rule}: {item.importer} -> {target.removesuffix('.')}")
    return found


def roomless() -> set[str]:
    """Return the modules that lie in no room, as lines of `KNOWN`."""
    parents = {"synood": ROOMS} | INNER
    return {
        f"no room: {name}"
        for name in MODULES
        for parent, rooms in parents.items()
        if name.startswith(f"{parent}.") and name not in EXEMPT
        if name.removeprefix(f"{parent}.").split(".")[0] not in rooms
    }


def check(rule: str, found: set[str]) -> None:
    known = {line for line in KNOWN | BY_NAME if line.startswith(f"{rule}: ")}
    assert sorted(found - known) == []
    assert sorted(known - found) == [], "mended: strike these lines of KNOWN"


def test_every_module_lies_in_a_room():
    check("no room", roomless())


@pytest.mark.parametrize("rule", ["upward", "private", "heavy"])
def test_imports_keep_the_rule(rule):
    check(rule, broken(rule))


def test_nothing_but_the_command_line_prints():
    printing = [
        name
        for name, path in MODULES.items()
        if name.startswith("synood.") and not name.startswith("synood.cli")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "print"
    ]
    assert printing == []


def example(importer, module, name=""):
    return Import(importer, importer.rpartition(".")[0], module, name)


def test_the_rules_find_what_breaks_them():
    above = example("synood.detector.ood_detector", "synood.pipeline.run")
    assert upward(above, "synood", ROOMS)
    assert not upward(above._replace(module="synood.scores"), "synood", ROOMS)
    assert not upward(example("synood.errors", "numpy"), "synood", ROOMS)
    inner = example("synood.benchmark.results.tables", "synood.benchmark.report.page")
    assert upward(inner, "synood.benchmark", INNER["synood.benchmark"])
    assert private_elsewhere(example("synood.detector.card", "synood.tuning._loop", "minimise"))
    assert private_elsewhere(example("synood.detector.card", "synood.tuning.loop", "_minimise"))
    assert not private_elsewhere(example("synood.tuning.joint", "synood.tuning._loop", "minimise"))
    assert not private_elsewhere(example("synood.tuning.a.b", "synood.tuning._loop"))
    assert not private_elsewhere(example("synood.tuning.joint", "__future__", "annotations"))
