"""Push the bytes of atheris, which looks where the code branches, through each door in turn.

    PYTHONPATH=tests python -m fuzzing --seconds 60            all doors, a minute each
    PYTHONPATH=tests python -m fuzzing --door "detector config.json" --seconds 3600

Each door runs in a process of its own with bounded memory. What it finds is written to
`fuzz-found/<door>/` and stays there with the corpus, so the next run starts where this one ended.
The exit code is 1 when a door let something other than an `InputError` out.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

MEMORY = 2048  # MB a door may take


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=60, help="for each door")
    parser.add_argument("--door", help="one door by name; all without")
    parser.add_argument("--out", type=Path, default=Path("fuzz-found"))
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.inside:
        return _run_inside(given.door, given.seconds, given.out)
    from fuzzing.doors import doors

    names = [given.door] if given.door else sorted(doors())
    broken = [name for name in names if _run(name, given.seconds, given.out)]
    print(f"{len(names)} doors, {len(broken)} broken{': ' if broken else ''}{', '.join(broken)}")
    return 1 if broken else 0


def _run(name: str, seconds: int, out: Path) -> bool:
    """Whether the door let out what it must not."""
    command = [sys.executable, "-m", "fuzzing", "--inside", "--door", name]
    command += ["--seconds", str(seconds), "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    runs = [line for line in done.stderr.splitlines() if line.startswith("Done ")]
    print(f"{name}: {'broken' if done.returncode else 'holds'} {' '.join(runs)}", flush=True)
    if done.returncode:
        print(done.stdout[-3000:], done.stderr[-3000:], sep="\n", flush=True)
    return done.returncode != 0


def _run_inside(name: str, seconds: int, out: Path) -> int:
    import atheris

    with atheris.instrument_imports(include=["synood"]):
        from fuzzing.doors import doors, push
    door = doors()[name]
    place = out / name.replace(" ", "-")
    corpus = place / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        room = Path(folder)
        door.make(room)
        (corpus / "valid").write_bytes((room / door.target).read_bytes())
        options = [f"-max_total_time={seconds}", f"-rss_limit_mb={MEMORY}", "-timeout=20"]
        options += [f"-artifact_prefix={place}/", "-print_final_stats=1", str(corpus)]
        atheris.Setup([sys.argv[0], *options], lambda data: push(door, room, data) and None)
        atheris.Fuzz()
    return 0


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())
