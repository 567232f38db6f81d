"""`synood serve` compared with decoding and encoding full batches in one process, and its latency.

python perf/serving.py; the bundle `photo`, JPEG photographs, one a request. The load comes from a
second process, on the same cores. The cost of an image is processor time, of both in turn, the
least of `--rounds`; `synood bench --only serve` has it too. Latency is at rates a second that are
given, or at shares of what the server takes at most.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from synood.benchmark.speed.processes import family_seconds
from synood.benchmark.speed.serving import Server, make_detector, score_alone, write_photographs
from synood.benchmark.speed.timing import compare

if TYPE_CHECKING:
    from synood.benchmark.speed.serving import Answered


def percentile(values: list[float], fraction: float) -> float:
    return sorted(values)[min(len(values) - 1, int(fraction * len(values)))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=512, help="requests of each load")
    parser.add_argument("--clients", type=int, default=32, help="clients of the full load")
    parser.add_argument("--images", type=int, default=64, help="photographs to send")
    parser.add_argument("--rounds", type=int, default=3, help="repetitions of both sides")
    parser.add_argument("--size", type=int, nargs=2, default=(1024, 768), help="of a photograph")
    parser.add_argument("--rate", type=float, nargs="*", default=[], help="requests a second")
    parser.add_argument("--share", type=float, nargs="*", default=[0.25, 0.5], help="of the most")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"load {os.getloadavg()[0]:.1f} before, {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as folder:
        images, place = Path(folder, "images"), Path(folder, "detector")
        images.mkdir()
        paths = write_photographs(images, options.images, tuple(options.size))
        contents = [paths[n % len(paths)].read_bytes() for n in range(options.requests)]
        detector = make_detector(place, images)
        fastest = 0.0
        with Server.of(place) as server:

            def serve() -> None:
                nonlocal fastest
                found = server.under_load(images, options.clients, options.requests)
                fastest = max(fastest, options.requests / found.seconds)

            least = compare(
                {"alone": lambda: score_alone(detector, contents), "served": serve},
                options.rounds,
                lambda: time.process_time() + family_seconds(server.pid),
            )
            alone, served = (least[name] / options.requests for name in ("alone", "served"))
            print(f"decode + encode + score, full batches: {alone:.1f} ms of CPU an image")
            print(
                f"served, {options.clients} clients: {served:.1f} ms of CPU an image, "
                f"{served / alone:.2f} times; {fastest:.1f} images/s"
            )
            for rate in options.rate or [share * fastest for share in options.share]:
                waited = server.under_load(images, 4 * options.clients, options.requests, rate)
                print(f"at {rate:.1f} requests/s: {latency(waited)}")
    print(f"load {os.getloadavg()[0]:.1f} after")


def latency(found: Answered) -> str:
    p50, p99 = (1000 * percentile(found.took, q) for q in (0.5, 0.99))
    return f"p50 {p50:.0f} ms, p99 {p99:.0f} ms"


if __name__ == "__main__":
    main()
