"""The code of docs/extending.md runs, block after block."""

from __future__ import annotations

import re
from pathlib import Path

from synood.models.clip import ImageTextEncoder
from synood.models.describer import Describer

PAGE = Path(__file__).parents[2] / "docs" / "extending.md"


def test_every_block_of_the_page_runs():
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text("utf-8"), flags=re.M | re.S)
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), names)
    methods = [name for name in vars(ImageTextEncoder) if name.startswith("encode_")]
    assert len(methods) == 3
    attributes = (*ImageTextEncoder.__annotations__, *methods, "fingerprint")
    assert all(hasattr(names["ColourEncoder"], name) for name in attributes)
    assert all(hasattr(names["Corners"], name) for name in ("id", "describe"))
    assert {"id", "describe"} <= set(dir(Describer))
