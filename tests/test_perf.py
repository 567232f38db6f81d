"""Every comparison under perf/ starts and says how it is called."""

import runpy
import sys
from pathlib import Path

import pytest

PERF = Path(__file__).parents[1] / "perf"
SCRIPTS = sorted(path.name for path in PERF.glob("*.py") if "def main" in path.read_text())


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_comparison_starts(name, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    monkeypatch.syspath_prepend(str(PERF))
    main = runpy.run_path(str(PERF / name), run_name="perf")["main"]
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 0
    assert "usage:" in capsys.readouterr().out
