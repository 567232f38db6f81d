"""The LaTeX of the tables, compiled where there is a LaTeX."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace

import pytest

from figures import METHODS, planted_scores, rows_of
from synood.benchmark.report import writing
from synood.benchmark.report.records import methods_to_json
from synood.benchmark.results.results import Results

PDFLATEX = shutil.which("pdflatex")
PAGE = (
    "\\documentclass{{article}}\n\\usepackage{{booktabs}}\n"
    "\\begin{{document}}\\tiny\n{table}\n\\end{{document}}\n"
)


@pytest.mark.skipif(PDFLATEX is None, reason="needs pdflatex")
def test_the_tables_compile_with_booktabs_alone(tmp_path):
    rows = rows_of(planted_scores({"synood": 2.0, "neglabel": 1.5}))
    odd = [replace(m, title=f"{m.title} _ & 50 % #1 ~ ^ {{x}} \\ $ < >") for m in METHODS]
    table = writing.all_tables(Results({"methods": methods_to_json(odd)}, rows), "tex")
    assert "50" in table
    (tmp_path / "page.tex").write_text(PAGE.format(table=table), encoding="utf-8")
    made = subprocess.run(
        [PDFLATEX, "-interaction=nonstopmode", "-halt-on-error", "page.tex"],
        cwd=tmp_path, capture_output=True, text=True, errors="replace", check=False,
    )  # fmt: skip
    assert made.returncode == 0, made.stdout[-2000:]
    assert (tmp_path / "page.pdf").stat().st_size > 1000
