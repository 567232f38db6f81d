"""A real HTTP server on this machine that speaks the chat protocol and fails on demand."""

from __future__ import annotations

import base64
import io
import json
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from PIL import Image

from synood.models import endpoint
from synood.models.endpoint import EndpointDescriber


class Drip(str):
    """A reply that is sent byte by byte, one every tenth of a second."""


class SlowHead(str):
    """A reply whose headers never end, one every tenth of a second."""


class Reply:
    """A whole reply: status, JSON value or text, headers."""

    def __init__(self, status, body, **headers):
        self.status, self.headers = status, headers
        self.text = body if isinstance(body, str) else json.dumps(body)


def choice(message, finish_reason="stop"):
    """A chat completion with one choice."""
    return {"choices": [{"message": message, "finish_reason": finish_reason}]}


class Chat:
    """What the server does and has seen. `faults` are used up first, one a request.

    `answer` is an answer's text, a `Reply`, or a function of the request that returns either.
    """

    def __init__(self, answer="sofa, lamp", faults=(), key=None, pause=0.0):
        self.answer, self.faults, self.key, self.pause = answer, list(faults), key, pause
        self.requests, self.times, self.images, self.at_once, self.most = [], [], [], 0, 0
        self.lock = threading.Lock()
        self.url = ""

    def reply(self, handler, body):
        with self.lock:
            self.times.append(time.monotonic())
            self.requests.append((handler.path, body))
            fault = self.faults.pop(0) if self.faults else None
        if self.key and handler.headers.get("Authorization") != f"Bearer {self.key}":
            sent = handler.headers.get("Authorization", "")
            return 401, {}, json.dumps({"error": f"bad key: {sent}"})
        if fault == "slow":
            time.sleep(1.0)
        elif fault == "malformed":
            return 200, {}, '{"choices": ['
        elif fault == "empty":
            return 200, {}, '{"choices": []}'
        elif isinstance(fault, tuple):
            return fault[0], {"Retry-After": fault[1]}, "{}"
        elif isinstance(fault, int):
            return fault, {}, "{}"
        elif isinstance(fault, dict):
            return 200, {}, json.dumps({"choices": [{"message": fault}]})
        answer = self.answer(body) if callable(self.answer) else self.answer
        answer = fault if isinstance(fault, Reply) else answer
        if isinstance(answer, Reply):
            return answer.status, answer.headers, answer.text
        message = {"role": "assistant", "content": answer}
        return 200, {}, json.dumps({"choices": [{"message": message}]})

    def seen(self, body):
        part = next(p for p in body["messages"][0]["content"] if p["type"] == "image_url")
        head, _, data = part["image_url"]["url"].partition(",")
        assert head == "data:image/jpeg;base64"
        return Image.open(io.BytesIO(base64.b64decode(data)))


@contextmanager
def serving(chat):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            length = int(self.headers["Content-Length"])
            body = json.loads(self.rfile.read(length))
            with chat.lock:
                chat.at_once += 1
                chat.most = max(chat.most, chat.at_once)
            time.sleep(chat.pause)
            status, headers, text = chat.reply(self, body)
            with chat.lock:
                chat.at_once -= 1
            try:
                self.send_response(status)
                for number in range(100 if isinstance(text, SlowHead) else 0):
                    self.send_header(f"X-{number}", "slow")
                    self.flush_headers()
                    time.sleep(0.1)
                for name, value in {**headers, "Content-Length": str(len(text.encode()))}.items():
                    self.send_header(name, value)
                self.end_headers()
                for byte in text.encode() if isinstance(text, Drip) else b"":
                    self.wfile.write(bytes([byte]))
                    time.sleep(0.1)
                if not isinstance(text, Drip):
                    self.wfile.write(text.encode())
            except OSError:
                pass  # the client has given up

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    chat.url = f"http://127.0.0.1:{server.server_port}/v1"
    try:
        yield chat
    finally:
        server.shutdown()
        server.server_close()


def pictures(count, size=(16, 12), seed=0):
    """Images of noise."""
    rng = np.random.default_rng(seed)
    return [Image.fromarray(rng.integers(0, 256, (*size, 3), np.uint8)) for _ in range(count)]


@pytest.fixture(autouse=True)
def kept_apart(tmp_path, monkeypatch):
    """Answers are kept for one test alone, and nothing waits: what would be is in `slept`."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(endpoint, "pause", lambda seconds, stop: slept.append(seconds))
    slept.clear()


slept: list[float] = []


def describer(chat, **options):
    """A describer that asks the server, without a key."""
    return EndpointDescriber(chat.url, "tiny", **{"key_env": None, **options})
