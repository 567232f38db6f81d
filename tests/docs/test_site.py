"""Every page is in the table of contents of the docs site, which lists no other."""

from __future__ import annotations

import re
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def test_every_page_is_listed_in_the_index():
    trees = re.findall(
        r"^```{toctree}\n(.*?)^```$", (DOCS / "index.md").read_text("utf-8"), re.M | re.S
    )
    lines = [line for tree in trees for line in tree.splitlines()]
    names = [line for line in lines if line and not line.startswith(":")]
    listed = {path for name in names for path in DOCS.glob(f"{name}.md")}
    assert {path for path in DOCS.rglob("*.md") if "_build" not in path.parts} - listed == {
        DOCS / "index.md"
    }
    assert all(list(DOCS.glob(f"{name}.*")) for name in names)
