"""Every comparison under perf/ starts and says how to call it; perf/device.sh runs at toy size."""

import re
import runpy
import subprocess
import sys
import time
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


# the device script, at toy size on the processor


@pytest.fixture
def parts(monkeypatch):
    """`main` of the parts, in this process."""
    monkeypatch.syspath_prepend(str(PERF))
    return runpy.run_path(str(PERF / "device_parts.py"), run_name="perf")["main"]


def printed(main, monkeypatch, capsys, part):
    monkeypatch.setattr(sys, "argv", ["device_parts.py", part, "--toy", "--device", "cpu"])
    main()
    return capsys.readouterr().out


def rows(text):
    """Cells of a Markdown table's lines below its head, by the first cell."""
    tables = [line[1:-1].split("|") for line in text.splitlines() if line.startswith("|")]
    lines = [[cell.strip() for cell in line] for line in tables]
    assert len({len(line) for line in lines}) == 1
    return {line[0]: line[1:] for line in lines[2:]}


@pytest.mark.parametrize("part", ["stable-diffusion", "z-image"])
def test_painting_is_measured_for_each_way_of_guiding(parts, monkeypatch, capsys, part):
    text = printed(parts, monkeypatch, capsys, part)
    found = rows(text)
    last = "the last 4 steps guided" if part == "stable-diffusion" else "the last 2 steps guided"
    assert [*found] == ["3 rounds", "one rendering, unguided", last, "every step guided"]
    for an_hour, seconds, share, batch, *_ in found.values():
        rate = 3600 / float(seconds)
        assert float(an_hour.replace(",", "")) == pytest.approx(rate, rel=0.01)
        assert float(share) > 0
        assert 1 <= int(batch) <= 8
    assert found["3 rounds"][2] == "1.00"
    assert "Batch size `auto`: 8 of at most" in text


def test_encoding_names_its_bottleneck(parts, monkeypatch, capsys):
    text = printed(parts, monkeypatch, capsys, "encoding")
    found = {name: float(cells[-1].replace(",", "")) for name, cells in rows(text).items()}
    assert all(rate > 0 for rate in found.values())
    names = {
        "JPEGs decoded": "decoding",
        "resized images made arrays": "making arrays of the resized images",
        "from tensors on the device, batches of 16": "the network",
    }
    of_stage = {
        stage: rate for row, rate in found.items() for name, stage in names.items() if name in row
    }
    slowest = min(of_stage, key=of_stage.get)
    assert f"the slowest stage is {slowest}, at {of_stage[slowest]:,.0f} images" in text


def test_tuning_that_is_not_ready_in_time_is_extrapolated(parts, monkeypatch, capsys):
    whole = rows(printed(parts, monkeypatch, capsys, "tuning"))
    assert {name: cells[:2] for name, cells in whole.items()} == {
        "projection": ["30", "30"],
        "negatives": ["25", "25"],
    }
    monkeypatch.setattr(sys, "argv", ["parts", "tuning", "--toy", "--until", str(time.time())])
    parts()
    cut = rows(capsys.readouterr().out)
    assert cut["projection"][:2] == ["1", "30"]
    seconds, all_steps = float(cut["projection"][2]), cut["projection"][3]
    assert float(all_steps.removesuffix(" (extrapolated)")) == pytest.approx(
        30 * seconds, abs=30 * 0.06
    )


@pytest.fixture
def device(monkeypatch):
    monkeypatch.syspath_prepend(str(PERF))
    return runpy.run_path(str(PERF / "device.py"), run_name="perf")


def test_what_a_part_has_printed_survives_when_it_is_cut_off(device, tmp_path):
    script = "import time\nprint('| first |', flush=True)\ntime.sleep(600)\n"
    report = tmp_path / "report.md"
    with report.open("a") as file:
        start = time.monotonic()
        trouble = device["run_part"]([sys.executable, "-c", script], 2.0, file)
    assert time.monotonic() - start < 60
    assert trouble == "cut off after 2 s"
    assert report.read_text() == "| first |\n"


def test_a_part_that_fails_says_why_and_the_next_is_not_begun_without_time(
    device, tmp_path, monkeypatch, capsys
):
    failing = [sys.executable, "-c", "raise SystemExit('no such card')"]
    monkeypatch.setitem(device["measure"].__globals__, "part_command", lambda *_: failing)
    report = tmp_path / "report.md"
    with report.open("a") as file:
        short = device["measure"](["about", "tuning"], "cpu", True, 60, file)
        late = device["measure"](["encoding"], "cpu", True, 5, file)
    assert short == ["about", "tuning"]
    assert late == ["encoding"]
    text = report.read_text()
    assert "**about**: failed with exit code 1: `no such card`." in text
    assert "**encoding**: not run, since the 5 s were over." in text
    assert "no such card" in capsys.readouterr().err


def test_the_script_writes_a_report_and_replaces_none(tmp_path):
    out = tmp_path / "report.md"
    command = [str(PERF / "device.sh"), "--toy", "--device", "cpu", "--out", str(out)]
    few = ["--parts", "about"]
    environment = {"PYTHON": sys.executable, "PATH": "/usr/bin:/bin"}
    run = {"env": environment, "capture_output": True, "text": True, "check": False}
    done = subprocess.run([*command, *few], **run)
    assert done.returncode == 0, done.stderr
    text = out.read_text()
    assert done.stdout.strip() == text.strip()
    assert "says nothing about speed" in text
    assert re.search(r"^\| torch \| \d", text, re.MULTILINE)
    assert re.search(r"^\d+ s in all, of 540\.$", text, re.MULTILINE)
    again = subprocess.run([*command, *few], **run)
    assert again.returncode == 1
    assert "exists; add --overwrite" in again.stderr
    assert out.read_text() == text
