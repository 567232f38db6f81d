"""Clients of a server in a process of their own: good ones, which check answers, and hostile ones.

hostile_clients.py HOST PORT EXPECTED.json BOMBS: until standard input ends; then it writes
{"found": {"kind": {"outcome": count}, ...}, "wrong": [...]}.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import random
import socket
import sys
import threading
import time
from collections import Counter
from pathlib import Path

from serving_client import Running, form, read_answer, request_head

KINDS = {
    "good": 4, "protocol": 2, "bombs": 2, "oversized": 1, "broken": 2, "large json": 2,
    "half-open": 4, "leaves": 1, "reads nothing": 2,
}  # fmt: skip


class Clients:
    def __init__(self, server: Running, expected: dict[str, float], bombs: list[Path]) -> None:
        self.server, self.expected, self.bomb_files = server, expected, bombs
        self.images = [(path, Path(path).read_bytes()) for path in expected]
        self.body, self.kind = form(self.images * 4)
        self.found: dict[str, Counter[str]] = {kind: Counter() for kind in KINDS}
        self.wrong: list[object] = []
        self.ended = threading.Event()

    def run(self, kind: str) -> None:
        """Do the same thing again and again, and count how it ended."""
        act = getattr(self, kind.replace(" ", "_").replace("-", "_"))
        while not self.ended.is_set():
            try:
                outcome = act()
            except OSError as error:
                outcome = type(error).__name__
                time.sleep(0.1)
            self.found[kind][str(outcome)] += 1

    def good(self) -> int:
        answer = self.server.score(self.images)
        if answer.status == 200:
            scores = {row["name"]: row["score"] for row in answer.json["results"]}
            if scores != self.expected:
                self.wrong.append(scores)
        elif answer.status != 503 or not answer.headers["retry-after"].isdecimal():
            self.wrong.append((answer.status, repr(answer.body)))
        return answer.status

    def protocol(self) -> int:
        name, data = random.choice(self.images)
        answer = self.infer(base64.b64encode(data))
        if answer.status == 200:
            score = next(one for one in answer.json["outputs"] if one["name"] == "score")
            if abs(score["data"][0] - self.expected[name]) > 1e-4:
                self.wrong.append(score)
        return answer.status

    def infer(self, text: bytes):
        body = b'{"inputs":[{"name":"image","shape":[1],"datatype":"BYTES","data":["%s"]}]}' % text
        return self.server.ask("POST", "/v2/models/first/infer", body)

    def bombs(self) -> int:
        files = random.sample(self.bomb_files, 3)
        answer = self.server.score([(path.name, path.read_bytes()) for path in files])
        if answer.status == 200:
            rows = answer.json["results"]
            if [row["name"] for row in rows] != [path.name for path in files]:
                self.wrong.append(rows)
        return answer.status

    def oversized(self) -> int:
        return self.server.score([("a.png", b"x" * 2**23)]).status

    def broken(self) -> int:
        kind = b"Content-Type: multipart/form-data; boundary=b\r\n"
        head = b"POST /v1/score HTTP/1.1\r\nHost: a\r\n" + kind
        sent = (
            os.urandom(500),
            b"\r\n" * 50 + b"\0" * 100,
            head + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffffffff\r\n",
            head + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 5000 + b"0\r\n\r\n",
            head + b"Content-Length: 50\r\n\r\n" + b"--b\r\n" * 10,
        )
        with self.server.connected(10) as client:
            client.sendall(random.choice(sent))
            with contextlib.suppress(ValueError):  # an answer that is none, of a closed connection
                return read_answer(client)[0]
        return 0

    def large_json(self) -> int:
        """A text that takes four bytes a character, because of one."""
        return self.infer("\U0001f600".encode() + b"a" * (2**23 - 500)).status

    def half_open(self) -> str:
        with self.server.connected(10) as client:
            head = request_head(len(self.body), self.kind)
            client.sendall(random.choice((b"", head[:20], head, head + self.body[:1000])))
            time.sleep(1)
        return "left"

    def leaves(self) -> str:
        with self.server.connected(10) as client:
            client.sendall(request_head(len(self.body), self.kind) + self.body)
        time.sleep(0.3)
        return "left"

    def reads_nothing(self) -> str:
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            client.settimeout(3)
            client.connect((self.server.host, self.server.port))
            with contextlib.suppress(TimeoutError):
                client.sendall(b"GET /page.js HTTP/1.1\r\nHost: a\r\n\r\n" * 300)
        time.sleep(1)
        return "left"


def main(host: str, port: str, expected: str, bombs: str) -> None:
    server = Running(None, host, int(port), Path())
    clients = Clients(server, json.loads(Path(expected).read_text()), sorted(Path(bombs).iterdir()))
    threads = [
        threading.Thread(target=clients.run, args=(kind,))
        for kind, count in KINDS.items()
        for _ in range(count)
    ]
    for thread in threads:
        thread.start()
    sys.stdin.read()
    clients.ended.set()
    for thread in threads:
        thread.join()
    sys.stdout.write(json.dumps({"found": clients.found, "wrong": clients.wrong}))


if __name__ == "__main__":
    main(*sys.argv[1:])
