"""The row of `synood bench` about served images: a server and a load, each a process of its own."""

from __future__ import annotations

import http.client
import json
import random
import subprocess
import sys
import threading
import time
import urllib.parse
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from synood.benchmark.speed import processes
from synood.benchmark.speed.data import row_of
from synood.benchmark.speed.timing import Timed, compare
from synood.features.extractor import BATCH

if TYPE_CHECKING:
    from collections.abc import Iterator

    from synood.detector import OODDetector

EXTRA = ("fastapi", "uvicorn", "prometheus_client", "python_multipart")
IMAGES, REQUESTS, CLIENTS = 32, 64, 32
SIZE = 1024, 768
_BOUNDARY = "part-of-a-form"


@dataclass(frozen=True)
class Answered:
    """What a load met with: seconds in all, and those that each request waited for its answer."""

    seconds: float
    took: list[float]


def write_photographs(
    folder: Path, count: int = IMAGES, size: tuple[int, int] = SIZE
) -> list[Path]:
    """Write JPEGs that take as long to decode as photographs, with detail at every scale."""
    (width, height), rng, paths = size, np.random.default_rng(0), []
    for number in range(count):
        picture = np.zeros((height, width, 3))
        for scale in (4, 16, 64, 256):
            small = rng.normal(size=(height // scale + 2, width // scale + 2, 3)) * scale**0.5
            layers = [
                np.asarray(
                    Image.fromarray(small[..., c].astype(np.float32)).resize((width, height))
                )
                for c in range(3)
            ]
            picture += np.stack(layers, axis=2)
        pixels = np.clip(128 + 6 * picture, 0, 255).astype(np.uint8)
        paths.append(folder / f"{number:03}.jpg")
        Image.fromarray(pixels).save(paths[-1], quality=90)
    return paths


def make_detector(place: Path, images: Path) -> OODDetector:
    """Save a detector of two class names with a threshold at `place`."""
    from synood.detector import OODDetector

    negatives = ["a receipt", "a circuit board", "a cloud", "a violin", "a bridge"]
    made = OODDetector.from_classes(["panda", "lighthouse"], negatives=negatives, device="cpu")
    made = made.calibrate(images, tpr=0.9)
    made.save_pretrained(place)
    return made


@dataclass(frozen=True)
class Server:
    """A server that runs, by the URL and the process that answers."""

    url: str
    pid: int

    @classmethod
    @contextmanager
    def of(cls, detector: Path) -> Iterator[Server]:
        """Serve a detector until the end of the block."""
        command = [sys.executable, "-m", "synood", "serve", str(detector), "--port", "0"]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ) as process:
            assert process.stdout is not None
            try:
                yield cls(process.stdout.readline().split()[-1], process.pid)
            finally:
                process.terminate()

    def under_load(self, images: Path, clients: int, requests: int, rate: float = 0.0) -> Answered:
        """Have another process send requests; see `send_load`."""
        code = "import sys; from synood.benchmark.speed.serving import main; main(*sys.argv[1:])"
        words = [self.url, str(images), str(clients), str(requests), str(rate)]
        result = subprocess.run(
            [sys.executable, "-c", code, *words], stdout=subprocess.PIPE, check=True
        )
        return Answered(**json.loads(result.stdout))


def main(url: str, images: str, clients: str, requests: str, rate: str) -> None:
    """Send a load, and write what it met with to standard output as JSON."""
    found = send_load(url, Path(images), int(clients), int(requests), float(rate))
    json.dump({"seconds": found.seconds, "took": found.took}, sys.stdout)


def send_load(url: str, images: Path, clients: int, requests: int, rate: float) -> Answered:
    """Send requests of one image: from `clients` that wait for answers, or, with a `rate`, as many
    a second at random moments, whether those before are answered or not.

    A request that is refused is an `OSError`.
    """
    bodies = [_form(path.read_bytes()) for path in sorted(images.iterdir())]
    moments, rng = [0.0] * requests, random.Random(0)
    if rate:
        for number in range(requests):
            moments[number] = moments[number - 1] * (number > 0) + rng.expovariate(rate)
    places, took, start = iter(range(requests)), list[float](), time.monotonic()

    def work() -> None:
        for number in places:
            due = start + moments[number]
            time.sleep(max(0.0, due - time.monotonic()))
            began = due if rate else time.monotonic()
            post(url, bodies[number % len(bodies)])
            took.append(time.monotonic() - began)

    threads = [threading.Thread(target=work) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if len(took) != requests:
        raise OSError(f"{requests - len(took)} of {requests} requests were not answered")
    return Answered(time.monotonic() - start, took)


def post(url: str, body: bytes) -> None:
    """Have the image of a form scored; another answer than that is an `OSError`."""
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=120)
    kind = f"multipart/form-data; boundary={_BOUNDARY}"
    connection.request("POST", "/v1/score", body, {"Content-Type": kind})
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    if answer.status != 200:
        raise OSError(f"{url}: {answer.status} {content!r}")


def _form(data: bytes) -> bytes:
    head = 'Content-Disposition: form-data; name="files"; filename="a.jpg"'
    return b"".join(
        (f"--{_BOUNDARY}\r\n{head}\r\n\r\n".encode(), data, f"\r\n--{_BOUNDARY}--\r\n".encode())
    )


def score_alone(detector: OODDetector, contents: list[bytes]) -> None:
    """Decode, encode and score the bytes of image files in full batches, and nothing else."""
    extractor = detector.backbone.extractor()
    for start in range(0, len(contents), BATCH):
        batch = contents[start : start + BATCH]
        images = [extractor.decoded(data, Path("image")) for data in batch]
        detector.predict_features(np.stack(extractor.encoded(images)))


def serve(folder: Path, runs: int) -> list[Timed]:
    """Images served one a request, beside decoding, encoding and scoring them in full batches.

    The figure is the server's CPU time; the load is a third process's.
    """
    what = f"{REQUESTS} JPEGs of {SIZE[0]} x {SIZE[1]}, one a request"
    if not all(map(find_spec, EXTRA)):
        return [Timed("serve", what, None, {}, ("the extra serve",))]
    if not processes.can_be_watched():
        return [Timed("serve", what, None, {}, (processes.MISSING,))]
    images = folder / "images"
    images.mkdir()
    paths = write_photographs(images)
    contents = [path.read_bytes() for path in paths] * (REQUESTS // IMAGES)
    detector = make_detector(folder / "detector", images)
    with Server.of(folder / "detector") as server:
        found = compare(
            {
                "ours": lambda: server.under_load(images, CLIENTS, REQUESTS),
                "decode + encode + score, full batches": lambda: score_alone(detector, contents),
            },
            runs,
            lambda: time.process_time() + processes.family_seconds(server.pid),
        )
    return [row_of("serve", what, found)]
