"""A server with small limits among hostile clients: each is told, and the others are answered."""

import contextlib
import io
import socket
import time
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from serving_client import form, read_answer, request_head, running, until

KEY = "0123456789abcdef0123456789abcdef"
BEARER = {"Authorization": f"Bearer {KEY}"}


@pytest.fixture(scope="module")
def small(detectors, tmp_path_factory):
    """A server of one detector that takes little, and wants a key."""
    options = ("--max-body", 1, "--max-files", 16, "--max-queue", 16, "--max-uploads", 2)
    options += ("--max-pixels", 1, "--body-seconds", 2, "--head-seconds", 1, "--decode-seconds", 5)
    options += ("--max-connections", 40)
    log = tmp_path_factory.mktemp("small") / "log"
    with running(detectors / "first", log, *options, env={"SYNOOD_API_KEY": KEY}) as started:
        yield started


def png_of(width, height, mode="1"):
    file = io.BytesIO()
    Image.new(mode, (width, height)).save(file, "PNG")
    return file.getvalue()


def errors(server, kind):
    text = server.ask("GET", "/metrics", **BEARER).body.decode()
    start = f'synood_errors_total{{kind="{kind}"}} '
    return sum(float(line[len(start) :]) for line in text.splitlines() if line.startswith(start))


def test_the_key_is_wanted_everywhere_but_for_health_and_the_page(small, png):
    for path in ("/", "/v2/health/live", "/v2/health/ready"):
        assert small.ask("GET", path).status == 200
    for path in ("/v2", "/v1/models", "/metrics", "/openapi.json", "/nothing", "/v2/models/first"):
        for wrong in ({}, {"Authorization": f"Bearer {KEY[:-1]}"}, {"Authorization": KEY}):
            answer = small.ask("GET", path, **wrong)
            assert answer.status == 401
            assert answer.headers["www-authenticate"] == "Bearer"
            assert [*answer.json] == ["error" if path.startswith("/v2") else "detail"]
        expected = 404 if path == "/nothing" else 200
        assert small.ask("GET", path, **BEARER).status == expected
    assert small.score([("a.png", png)]).status == 401
    assert small.score([("a.png", png)], **BEARER).status == 200
    assert KEY not in small.log_file.read_text()


def test_a_body_that_says_it_is_too_large_is_refused_before_it_comes(small):
    with small.connected() as client:
        client.sendall(request_head(2**21, "multipart/form-data; boundary=b", more=HEADER))
        status, body = read_answer(client)
    assert status == 413
    assert b"over 1 MiB" in body


HEADER = f"Authorization: Bearer {KEY}\r\n"


def test_a_body_without_length_is_counted_as_it_comes(small):
    def chunks():
        for _ in range(40):
            yield b"x" * 65_536

    answer = small.ask(
        "POST", "/v1/score", chunks(), Content_Type="multipart/form-data; boundary=b", **BEARER
    )
    assert answer.status == 413
    assert answer.headers["connection"] == "close"


def test_a_client_that_sends_its_whole_body_first_can_read_the_refusal(small):
    images = [("a.png", b"x" * 2**22)]
    assert small.score(images, **BEARER).status == 413


@pytest.mark.parametrize(
    ("sent", "statuses"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n", {400}),
        (
            b"POST /v1/score HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            {400, 401},
        ),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200), {400}),  # TLS
        (b"GET / HTTP/1.1\r\nX: " + b"a" * 70_000 + b"\r\n\r\n", {400}),
        (b"GET http://[/ HTTP/1.1\r\nHost: a\r\n\r\n", {200, 400, 401, 404}),
        (b"GET /%ff%00/../../etc/passwd HTTP/1.1\r\nHost: a\r\n\r\n", {400, 401, 404}),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", {400, 404, 401, 405}),
    ],
)
def test_broken_requests_are_refused(small, sent, statuses):
    with small.connected() as client:
        client.sendall(sent)
        status, _ = read_answer(client)
    assert status in statuses


def test_too_many_files_are_refused(small, png):
    answer = small.score([(f"{number}.png", png) for number in range(17)], **BEARER)
    assert (answer.status, "more than 16 files" in answer.json["detail"]) == (413, True)


def test_bombs_are_refused_before_they_are_decoded(small, png):
    bomb = png_of(8, 8).replace(b"IHDR" + b"\0\0\0\x08" * 2, b"IHDR" + b"\0\3\x0d\x40" * 2)
    ihdr = bomb.index(b"IHDR")
    bomb = (
        bomb[: ihdr + 17]
        + zlib.crc32(bomb[ihdr : ihdr + 17]).to_bytes(4, "big")
        + bomb[ihdr + 21 :]
    )
    images = [("bomb.png", bomb), ("wide.png", png_of(1001, 1000)), ("good.png", png)]
    before = time.monotonic()
    rows = small.score(images, **BEARER).json["results"]
    assert "pixels are more than the limit of 1000000" in rows[0]["error"]
    assert "1001 x 1000 pixels are more than the limit of 1000000" in rows[1]["error"]
    assert rows[2]["score"] is not None
    assert time.monotonic() - before < 5


def test_a_jpeg_of_endless_scans_is_refused(small):
    file = io.BytesIO()
    Image.new("L", (1000, 1000), 128).save(file, "JPEG", progressive=True)
    data = file.getvalue()
    last = data.rindex(b"\xff\xc4", 0, data.rindex(b"\xff\xda"))
    bomb = data[:-2] + data[last:-2] * 2000 + b"\xff\xd9"
    row = small.score([("scans.jpg", bomb)], **BEARER).json["results"][0]
    assert "more than 100 scans" in row["error"]


def test_a_full_queue_is_told_with_the_time_to_come_again(small):
    noise = np.random.default_rng(0).integers(0, 256, (900, 1000, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, "JPEG", quality=1)
    images = [(f"{number}.jpg", file.getvalue()) for number in range(10)]
    with ThreadPoolExecutor(12) as clients:
        answers = [*clients.map(lambda _: small.score(images, **BEARER), range(12))]
    statuses = {answer.status for answer in answers}
    assert statuses == {200, 503}
    for answer in answers:
        if answer.status == 503:
            assert 1 <= int(answer.headers["retry-after"]) <= 60
        else:
            assert len(answer.json["results"]) == 10
    assert errors(small, "busy") >= 1
    until(lambda: errors(small, "busy") and small.score(images[:1], **BEARER).status == 200)


def closed_within(client, seconds):
    """Whether the server closes a connection, having said nothing or a refusal."""
    client.settimeout(seconds)
    try:
        while client.recv(65_536):
            pass
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False
    return True


def test_slow_heads_are_cut_off_and_hold_up_nobody(small, png):
    drips = [small.connected() for _ in range(20)]
    for number, client in enumerate(drips):
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nX-A: " if number % 2 else b"")
    began = time.monotonic()
    assert small.score([("a.png", png)], **BEARER).status == 200
    while time.monotonic() - began < 1.5:  # a byte now and then does not extend the time
        for client in drips[1::2]:
            with contextlib.suppress(OSError):
                client.sendall(b"a")
        time.sleep(0.2)
    assert all(closed_within(client, 1) for client in drips)
    for client in drips:
        client.close()


def test_a_second_head_that_does_not_end_is_cut_off_too(small):
    with small.connected() as client:
        client.sendall(b"GET /v2/health/live HTTP/1.1\r\nHost: a\r\n\r\n")
        assert read_answer(client)[0] == 200
        client.sendall(b"GET /v2/health/live HT")
        assert closed_within(client, 5)


def test_slow_bodies_are_told_so_and_hold_up_nobody(small, png):
    body, kind = form([("a.png", png)])
    drips = [small.connected() for _ in range(10)]
    for client in drips:
        client.sendall(request_head(len(body), kind, more=HEADER) + body[:10])
    assert small.score([("a.png", png)], **BEARER).status == 200
    for client in drips:
        assert read_answer(client)[0] == 408
        assert closed_within(client, 5)
        client.close()


def test_clients_that_do_not_read_their_answers_are_cut_off(small, png):
    """Each asks for megabytes and reads none; otherwise it would keep its connection for ever."""
    clients = []
    for number in range(10):
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        client.connect((small.host, small.port))
        client.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            asked = b"GET /page.js HTTP/1.1\r\nHost: a\r\n\r\n"
            client.send(asked * (3000 if number % 2 else 300))
        clients.append(client)
    assert small.score([("a.png", png)], **BEARER).status == 200
    until(lambda: all(was_reset(client) for client in clients))
    for client in clients:
        client.close()
    assert small.score([("a.png", png)], **BEARER).status == 200


def was_reset(client):
    try:
        client.send(b"G")
    except BlockingIOError:
        return False
    except OSError:
        return True
    return False


def test_uploads_held_together_are_limited(small, png):
    body, kind = form([("a.png", b"x" * 900_000)])
    drips = [small.connected() for _ in range(4)]
    for client in drips:
        client.sendall(request_head(len(body), kind, more=HEADER) + body[:-9])
    statuses = sorted(read_answer(client)[0] for client in drips)
    assert statuses[-1] == 503
    assert statuses[0] == 408
    for client in drips:
        client.close()
    until(lambda: small.ask("GET", "/metrics", **BEARER).body.count(b"synood_upload_bytes 0.0"))
    assert small.score([("a.png", png)], **BEARER).status == 200


def test_too_many_connections_are_closed_at_once(small):
    held = [small.connected() for _ in range(60)]
    assert sum(closed_within(client, 0.05) for client in held) >= 20
    for client in held:
        client.close()
    until(lambda: small.connected() and small.ask("GET", "/v2/health/live").status == 200)


def test_clients_that_leave_leave_nothing_behind(small, png):
    body, kind = form([("a.png", png)] * 4)
    before, lines = errors(small, "client_gone"), len(small.log())
    for number in range(20):
        client = small.connected()
        cut = len(body) if number % 2 else len(body) // 2
        client.sendall(request_head(len(body), kind, more=HEADER) + body[:cut])
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()  # with a reset
    until(lambda: errors(small, "client_gone") > before)
    told = [row for row in small.log()[lines:] if row.get("path") == "/v1/score"]
    assert {row["status"] for row in told} <= {200, 499, 503}
    assert 499 in {row["status"] for row in told}
    until(
        lambda: (
            b"synood_queue_images 0.0" in small.ask("GET", "/metrics", **BEARER).body
            and b"synood_upload_bytes 0.0" in small.ask("GET", "/metrics", **BEARER).body
        )
    )
    assert small.score([("a.png", png)], **BEARER).status == 200


def test_ids_of_requests_are_kept_where_they_are_sane(small):
    for given, kept in (("abc-1.2:3", True), ("a b", False), ("x" * 65, False), ("é", False)):
        answer = small.ask("GET", "/v2/health/live", X_Request_Id=given.encode("latin-1"))
        assert (answer.headers["x-request-id"] == given) == kept
        until(
            lambda known=answer.headers["x-request-id"]: any(
                row.get("request_id") == known for row in small.log()
            )
        )


def test_the_log_has_a_line_for_every_request_and_no_fault(small):
    rows = small.log()
    assert {row["event"] for row in rows} <= {
        "listening",
        "request",
        "Invalid HTTP request received.",
    }
    assert all({"time", "level"} <= {*row} for row in rows)
    lines = small.log_file.read_text().splitlines()
    assert len(lines) == len(rows)
    assert small.process.poll() is None
