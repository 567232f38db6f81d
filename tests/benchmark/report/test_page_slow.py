"""The page in a real browser, where there is one: on a phone it scrolls down and never sideways."""

from __future__ import annotations

import html
import re
import shutil
import subprocess

import pytest

from figures import report_of
from synood.benchmark.report.report import render

pytestmark = pytest.mark.slow
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
ASK = """<iframe id="page" width="{width}" height="800" srcdoc="{page}"></iframe><script>
page.onload = () => {{ const inside = page.contentDocument;
  inside.querySelectorAll("details").forEach(part => part.open = true);
  document.title = "wide " + inside.documentElement.scrollWidth; }};
</script>"""


@pytest.mark.skipif(BROWSER is None, reason="needs the browser chromium")
@pytest.mark.parametrize("width", [320, 390, 1200])
def test_nothing_but_a_table_scrolls_sideways(tmp_path, width):
    page = html.escape(render(report_of({"synood": 2.6, "neglabel": 1.5})))
    (tmp_path / "ask.html").write_text(ASK.format(width=width, page=page))
    shown = subprocess.run(
        [BROWSER, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom",
         "--virtual-time-budget=5000", f"file://{tmp_path / 'ask.html'}"],
        capture_output=True, text=True, check=True, timeout=120,
    ).stdout  # fmt: skip
    assert int(re.search(r"<title>wide (\d+)", shown)[1]) <= width
