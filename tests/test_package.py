"""What holds for the whole package: light imports, no torchvision, sorted listings, no network."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import synood

ROOT = Path(synood.__file__).parent
MODULES = sorted(
    ".".join(("synood", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__")
    for path in ROOT.rglob("*.py")
    if path.name != "__main__.py"
)
ORDERLESS = {"sorted", "any", "all", "sum"}
LISTINGS = {"iterdir", "glob", "rglob", "listdir", "scandir", "walk"}


def loaded_after(code: str) -> set[str]:
    """The top-level modules that a fresh interpreter holds after running `code`."""
    script = f"{code}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in json.loads(run.stdout.splitlines()[-1])}


def test_importing_the_package_loads_nothing_heavy():
    assert not {"torch", "transformers", "diffusers", "numpy"} & loaded_after("import synood")


def test_metrics_scores_labels_and_images_load_no_torch():
    code = "import synood.metrics, synood.scores, synood.labels.mining, synood.images.decoding"
    assert "torch" not in loaded_after(code)


def test_no_module_loads_torchvision():
    assert "torchvision" not in loaded_after("\n".join(f"import {name}" for name in MODULES))


def test_every_public_name_is_there():
    assert all(getattr(synood, name) is not None for name in synood.__all__)
    with pytest.raises(AttributeError, match="nothing_of_the_kind"):
        _ = synood.nothing_of_the_kind


def test_the_public_names_are_listed_before_anything_is_loaded():
    code = "import synood; print(sorted(set(synood.__all__) - set(dir(synood))))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def unsorted_listings(tree: ast.AST) -> list[int]:
    """Lines with a directory listing that nothing encloses whose result has no order or one."""
    enclosed = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.SetComp)
        or (isinstance(node, ast.Call) and getattr(node.func, "id", "") in ORDERLESS)
        for inner in ast.walk(node)
    }
    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and getattr(node.func, "attr", "") in LISTINGS
        and id(node) not in enclosed
    ]


def test_the_check_of_listings_finds_one():
    assert unsorted_listings(ast.parse("for path in folder.iterdir(): pass")) == [1]
    assert unsorted_listings(ast.parse("for path in sorted(folder.iterdir()): pass")) == []


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda path: path.stem)
def test_every_listing_is_sorted(path):
    assert unsorted_listings(ast.parse(path.read_text(encoding="utf-8"))) == []


def test_no_device_is_named_in_the_code():
    named = [p for p in sorted(ROOT.rglob("*.py")) if '"cuda' in p.read_text(encoding="utf-8")]
    assert named == []
