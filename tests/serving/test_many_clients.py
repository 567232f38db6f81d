"""Many, slow and hostile clients of a second process: nothing is lost and memory stays flat."""

import json
import struct
import subprocess
import sys
import time
import zlib
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from PIL import Image

import hostile_clients
from serving_client import ENV, running, until

pytestmark = pytest.mark.slow


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


@pytest.fixture(scope="module")
def bombs(tmp_path_factory):
    """Small files that are large in memory, damaged ones and none at all."""
    root = tmp_path_factory.mktemp("bombs")
    for name, size, mode in (("limit", 3000, "RGBA"), ("over", 3200, "L"), ("strip", 9, "P")):
        shape = (size, size) if size > 9 else (900_000, 9)
        Image.new(mode, shape).save(root / f"{name}.png")
    Image.new("RGB", (3000, 3000)).save(root / "limit.webp", method=0)
    Image.new("RGB", (3000, 3000)).save(root / "limit.jpg", progressive=True)
    frames = [Image.new("P", (64, 64), number) for number in range(200)]
    frames[0].save(root / "frames.gif", save_all=True, append_images=frames[1:])
    whole = (root / "over.png").read_bytes()
    zeros = zlib.compress(bytes(2**28), 9)
    profile, text = chunk(b"iCCP", b"a\0\0" + zeros), chunk(b"zTXt", b"a\0\0" + zeros)
    (root / "profile.png").write_bytes(whole[:33] + profile + whole[33:])
    (root / "text.png").write_bytes(whole[:33] + text * 3 + whole[33:])
    (root / "cut.png").write_bytes((root / "limit.png").read_bytes()[:500])
    (root / "empty.png").write_bytes(b"")
    return root


@pytest.fixture
def scores(detectors, image_files, tmp_path):
    """What a server without other clients answers, as a file."""
    with running(detectors / "first", tmp_path / "quiet.log") as server:
        images = [(str(path), path.read_bytes()) for path in image_files]
        rows = server.score(images).json["results"]
    (tmp_path / "scores.json").write_text(json.dumps({row["name"]: row["score"] for row in rows}))
    return tmp_path / "scores.json"


@contextmanager
def attacked(server, scores, bombs):
    """Let the clients at a server; `told`, filled at the end, is what they say of its answers."""
    words = [hostile_clients.__file__, server.host, str(server.port), scores, bombs]
    process = subprocess.Popen(
        [sys.executable, *words],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=ENV,
    )  # fmt: skip
    told = {}
    try:
        yield told
        told.update(json.loads(process.communicate(timeout=200)[0]))
    finally:
        process.kill()
        process.wait()


def answers(server):
    """How many images were scored; None while too many clients ask for anything."""
    with suppress(OSError):
        return sum(
            float(line.split()[-1])
            for line in server.ask("GET", "/metrics").body.decode().splitlines()
            if line.startswith("synood_verdicts_total{")
        )
    return None


OPTIONS = ("--max-pixels", 9, "--max-body", 8, "--max-uploads", 64, "--body-seconds", 5)


def test_nothing_is_lost_and_memory_is_flat(detectors, scores, bombs, tmp_path):
    with running(detectors / "first", tmp_path / "log", *OPTIONS) as server:
        peaks, seen = [], 0.0
        with attacked(server, scores, bombs) as told:
            for _ in range(4):  # of so many images each, however long they take
                goal, peak, until_when = seen + 60, 0, time.monotonic() + 60
                while seen < goal and time.monotonic() < until_when:
                    time.sleep(0.2)
                    peak = max(peak, server.memory())
                    seen = answers(server) or seen
                peaks.append(peak >> 20)
        assert told["wrong"] == []
        found = told["found"]
        for kind in ("good", "protocol", "bombs"):
            assert {*found[kind]} <= {"200", "503"}, found
            assert found[kind]["200"] > 0, found
        assert found["oversized"]["413"] > 0, found
        assert found["large json"]["400"] > 0, found
        assert max(peaks[2:]) < max(peaks[:2]) + 96, peaks
        until(lambda: server.metric("synood_queue_images") == 0)
        until(lambda: server.metric("synood_upload_bytes") == 0)
        until(lambda: len(list(Path(f"/proc/{server.process.pid}/fd").iterdir())) < 30)
        assert {row["event"] for row in server.log()} <= {
            "listening", "request", "Invalid HTTP request received.",
        }  # fmt: skip
        assert server.ended() == 0


def test_clients_of_a_killed_server_are_answered_by_the_next(detectors, scores, bombs, tmp_path):
    with running(detectors / "first", tmp_path / "log", *OPTIONS) as server:
        with attacked(server, scores, bombs) as told:
            until(lambda: answers(server), 120)
            server.process.kill()
            server.process.wait()
            options = (*OPTIONS, "--port", server.port)
            with running(detectors / "first", tmp_path / "second.log", *options) as second:
                until(lambda: answers(second), 120)
                second.ended(timeout=60)
        assert told["wrong"] == []
        assert told["found"]["good"]["200"] > 0
