"""A server's life: drained on SIGTERM, killed and started again, with flat memory."""

import signal
import socket
import threading
import time

import pytest

from serving_client import form, read_answer, request_head, running, until
from synood import OODDetector


@pytest.fixture(scope="module")
def photographs():
    """The bytes of some large images, which take a while."""
    import io

    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(1)
    found = []
    for _ in range(4):
        coarse = Image.fromarray(rng.integers(0, 256, (30, 40, 3), np.uint8))
        file = io.BytesIO()
        coarse.resize((2400, 1800), Image.Resampling.BICUBIC).save(file, "PNG", compress_level=1)
        found.append(file.getvalue())
    return found


def test_what_was_accepted_is_answered_before_the_end(detectors, photographs, tmp_path):
    """SIGTERM under load: readiness goes, every accepted request is answered, exit code 0."""
    with running(detectors / "first", tmp_path / "log", "--drain-delay", "1") as server:
        answers, unsent = [], []

        def ask():
            try:
                images = [("a.png", data) for data in photographs]
                answers.append(server.score(images))
            except (ConnectionRefusedError, ConnectionResetError):
                unsent.append(1)

        clients = [threading.Thread(target=ask) for _ in range(6)]
        half = server.connected()
        body, kind = form([("late.png", photographs[0])])
        half.sendall(request_head(len(body), kind) + body[:1000])
        for client in clients:
            client.start()
        until(lambda: server.metric("synood_queue_images") >= 8)
        server.process.send_signal(signal.SIGTERM)
        until(lambda: server.ask("GET", "/v2/health/ready").status == 503)
        assert server.ask("GET", "/v2/health/ready").json == {"ready": False}
        assert server.ask("GET", "/v2/health/live").status == 200
        half.sendall(body[1000:])  # begun before, and so answered
        assert read_answer(half)[0] == 200
        for client in clients:
            client.join()
        assert server.process.wait(30) == 0
    assert not unsent
    assert [answer.status for answer in answers] == [200] * 6
    assert all(row["score"] for answer in answers for row in answer.json["results"])
    assert [row["event"] for row in server.log() if row["event"] != "request"] == [
        "listening", "draining", "stopped",
    ]  # fmt: skip


def test_a_second_signal_ends_at_once(detectors, photographs, tmp_path):
    with running(detectors / "first", tmp_path / "log", "--drain-delay", "30") as server:
        server.process.send_signal(signal.SIGINT)
        until(lambda: server.ask("GET", "/v2/health/ready").status == 503)
        began = time.monotonic()
        assert server.ended(signal.SIGTERM) == 143
        assert time.monotonic() - began < 5


def test_a_client_that_does_not_go_holds_up_the_end_no_longer_than_said(detectors, tmp_path):
    options = ("--drain-seconds", "1", "--body-seconds", "60")
    with (
        running(detectors / "first", tmp_path / "log", *options) as server,
        server.connected() as idle,
        server.connected() as half,
    ):
        half.sendall(request_head(1000, "multipart/form-data; boundary=b") + b"--b")
        until(lambda: server.metric("synood_upload_bytes") == 3)
        began = time.monotonic()
        assert server.ended() == 0
        assert time.monotonic() - began < 10
        assert idle.recv(1) == b""


def test_a_killed_server_starts_again_at_its_port(detectors, png, tmp_path):
    port = free_port()
    scores = []
    for number in range(2):
        with running(detectors / "first", tmp_path / f"log {number}", "--port", port) as server:
            kept = server.connected()  # in use while the server goes
            kept.sendall(b"GET / HTTP/1.1\r\n")
            scores.append(server.score([("a.png", png)]).json["results"][0]["score"])
            server.process.kill()
            server.process.wait()
    assert scores[0] == scores[1] is not None


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.slow
def test_memory_is_flat_whatever_clients_send(detectors, photographs, png, tmp_path):
    """Good, broken, too large and abandoned requests by the hundred leave no bytes behind."""
    with running(detectors / "first", tmp_path / "log", "--max-body", "16") as server:

        def everything():
            body, kind = form([("a.png", data) for data in photographs])
            memory = 0
            for number in range(10):
                assert server.score([("a.png", photographs[number % 4])]).status == 200
                assert server.score([("a.png", png)] * 20, "?explain=1").status == 200
                assert server.score([("cut.png", photographs[0][:-1000])]).status == 200
                assert server.score([("large", b"x" * 2**25)]).status == 413
                client = server.connected()
                client.sendall(request_head(len(body), kind) + body[: len(body) // 2])
                client.close()
                assert server.ask("POST", "/v2/models/first/infer", b"[" * 9000).status in (
                    400,
                    413,
                )
                memory = max(memory, server.memory())
            return memory

        early = max(everything() for _ in range(3))  # what is freed is not all given back at once
        late = max(everything() for _ in range(3))  # 300 MiB more if what came were kept
        assert late - early < 64 * 2**20
        until(lambda: server.metric("synood_upload_bytes") == 0)


def test_detectors_of_one_encoder_share_it(detectors):
    from synood.serving.served import load_served

    found = load_served(detectors, device="cpu")
    assert [*found] == ["first", "second one"]
    assert found["first"].extractor is found["second one"].extractor
    assert isinstance(found["first"].detector, OODDetector)
