"""`synood serve` compared with decoding and encoding full batches in one process, and its latency.

python perf/serving.py; the bundle `photo`, JPEG photographs of 1024 x 768, one a request. The load
comes from a second process, on the same cores.

The cost of an image is processor time, which other work on the machine does not change: of this
process for decoding, encoding and scoring batch by batch, of the server's as /metrics has it.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

BATCH = 16


def write_photographs(folder: Path, count: int, width: int, height: int) -> None:
    """Write JPEGs that take as long to decode as photographs: detail at every scale."""
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(0)
    for number in range(count):
        picture = np.zeros((height, width, 3))
        for scale in (4, 16, 64, 256):
            small = rng.normal(size=(height // scale + 2, width // scale + 2, 3)) * scale**0.5
            layers = [
                Image.fromarray(small[..., c].astype(np.float32)).resize((width, height))
                for c in range(3)
            ]
            picture += np.stack(layers, axis=2)
        pixels = np.clip(128 + 6 * picture, 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:02}.jpg", quality=90)


def make_detector(place: Path, images: Path) -> None:
    from synood import OODDetector

    negatives = ["a receipt", "a circuit board", "a cloud", "a violin", "a bridge"]
    made = OODDetector.from_classes(["panda", "lighthouse"], negatives=negatives)
    made.calibrate(images, tpr=0.9).save_pretrained(place)


def cost_alone(place: Path, images: Path, rounds: int) -> float:
    """Processor seconds to decode, encode and score an image, in full batches and nothing else."""
    from synood.serving.served import load_served

    served = next(iter(load_served(place).values()))
    contents = [path.read_bytes() for path in sorted(images.iterdir())]
    found = []
    for _ in range(rounds):
        began = time.process_time()
        for start in range(0, len(contents), BATCH):
            extractor = served.extractor
            decoded = [
                extractor.decoded(data, Path("image")) for data in contents[start : start + BATCH]
            ]
            served.predictions(extractor.encoded(decoded), explain=False)
        found.append((time.process_time() - began) / len(contents))
    return statistics.median(found)


@contextmanager
def server(place: Path) -> Iterator[str]:
    """Start a server; yield its address."""
    command = [sys.executable, "-m", "synood", "serve", str(place), "--port", "0"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        yield process.stdout.readline().split()[-1]
        process.terminate()


def ask(url: str, method: str, path: str, body: bytes = b"", kind: str = "") -> bytes:
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=120)
    connection.request(method, path, body, {"Content-Type": kind} if kind else {})
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    if answer.status != 200:
        raise SystemExit(f"{path}: {answer.status} {content!r}")
    return content


def processor_seconds(url: str) -> float:
    text = ask(url, "GET", "/metrics").decode()
    line = next(line for line in text.splitlines() if line.startswith("process_cpu_seconds_total "))
    return float(line.split()[1])


def send_load(url: str, images: Path, clients: int, requests: int, rate: float) -> None:
    """Send requests and print their seconds as JSON: from `clients` that wait for answers, or,
    with a rate, as many a second at random moments, whether those before are answered or not."""
    files = [path.read_bytes() for path in sorted(images.iterdir())]
    boundary = "part-of-a-form"
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="files"; filename="a.jpg"\r\n\r\n'
    bodies = [f"{head}".encode() + data + f"\r\n--{boundary}--\r\n".encode() for data in files]
    kind = f"multipart/form-data; boundary={boundary}"
    rng, places = random.Random(0), iter(range(requests))
    moments = [0.0] * requests
    if rate:
        for number in range(requests):
            moments[number] = moments[number - 1] * (number > 0) + rng.expovariate(rate)
    took: list[float] = []
    start = time.monotonic()

    def work() -> None:
        for number in places:
            due = start + moments[number]
            time.sleep(max(0.0, due - time.monotonic()))
            began = due if rate else time.monotonic()
            ask(url, "POST", "/v1/score", bodies[number % len(bodies)], kind)
            took.append(time.monotonic() - began)

    threads = [threading.Thread(target=work) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(json.dumps({"seconds": time.monotonic() - start, "took": took}))


def loaded(url: str, images: Path, clients: int, requests: int, rate: float = 0.0) -> dict:
    """Have a second process send requests."""
    words = [url, str(images), str(clients), str(requests), str(rate)]
    code = "import sys; from serving import *; a = sys.argv; " + (
        "send_load(a[1], Path(a[2]), int(a[3]), int(a[4]), float(a[5]))"
    )
    here = Path(__file__).parent
    result = subprocess.run(
        [sys.executable, "-c", code, *words], cwd=here, capture_output=True, text=True, check=True
    )
    return json.loads(result.stdout)


def percentile(values: list[float], fraction: float) -> float:
    return sorted(values)[min(len(values) - 1, int(fraction * len(values)))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=512, help="requests of each load")
    parser.add_argument("--clients", type=int, default=32, help="clients of the full load")
    parser.add_argument("--images", type=int, default=64, help="photographs to send")
    parser.add_argument("--rounds", type=int, default=3, help="repetitions of the work alone")
    parser.add_argument("--size", type=int, nargs=2, default=(1024, 768), help="of a photograph")
    parser.add_argument(
        "--share", type=float, nargs="*", default=[0.25, 0.5], help="of the full rate, for latency"
    )
    options = parser.parse_args()
    print(
        f"load average {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores, "
        f"OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', 'not set')}"
    )
    with tempfile.TemporaryDirectory() as folder:
        images, place = Path(folder, "images"), Path(folder, "detector")
        images.mkdir()
        write_photographs(images, options.images, *options.size)
        make_detector(place, images)
        alone = cost_alone(place, images, options.rounds)
        print(f"decode + encode + score, batches of {BATCH}: {1000 * alone:.1f} ms of CPU an image")
        with server(place) as url:
            loaded(url, images, options.clients, 2 * BATCH)  # what is made at the first images
            before = processor_seconds(url)
            found = loaded(url, images, options.clients, options.requests)
            cost = (processor_seconds(url) - before) / options.requests
            rate = options.requests / found["seconds"]
            print(
                f"served, {options.clients} clients: {1000 * cost:.1f} ms of CPU an image, "
                f"{cost / alone:.2f} times; {rate:.1f} images/s"
            )
            for share in options.share:
                found = loaded(url, images, 4 * options.clients, options.requests, share * rate)
                p50, p99 = (1000 * percentile(found["took"], q) for q in (0.5, 0.99))
                print(
                    f"at {share * rate:.1f} requests/s ({share:.0%} of that): p50 {p50:.0f} ms, "
                    f"p99 {p99:.0f} ms"
                )


if __name__ == "__main__":
    main()
