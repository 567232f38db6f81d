"""The load that is sent to a server: every request is answered, or it is an error."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from synood.benchmark.speed import executors, serving
from synood.benchmark.speed.serving import send_load


class Answers(BaseHTTPRequestHandler):
    """Notes what was sent; refuses where it is told to."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.seen.append((self.path, self.headers["Content-Type"], body))
        self.send_response(503 if self.server.refuses else 200)
        self.end_headers()
        self.wfile.write(json.dumps({}).encode())

    def log_message(self, *words):
        pass


@pytest.fixture
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as found:
        found.seen, found.refuses = [], False
        thread = threading.Thread(target=found.serve_forever)
        thread.start()
        yield found
        found.shutdown()
        thread.join()


@pytest.fixture
def images(tmp_path):
    for name in ("a", "b"):
        (tmp_path / f"{name}.jpg").write_bytes(f"image {name}".encode())
    return tmp_path


@pytest.mark.parametrize("rate", [0.0, 200.0])
def test_a_load_sends_each_request_once_and_notes_how_long_it_took(server, images, rate):
    url = f"http://127.0.0.1:{server.server_address[1]}"
    found = send_load(url, images, clients=3, requests=8, rate=rate)
    assert len(found.took) == len(server.seen) == 8
    assert 0 < max(found.took) <= found.seconds
    bodies = [body for _, _, body in server.seen]
    assert sum(b"image a" in body for body in bodies) == 4
    assert all(path == "/v1/score" and "multipart" in kind for path, kind, _ in server.seen)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_refused_request_is_an_error(server, images):
    server.refuses = True
    url = f"http://127.0.0.1:{server.server_address[1]}"
    with pytest.raises(OSError, match="were not answered"):
        send_load(url, images, clients=2, requests=4, rate=0.0)


@pytest.mark.parametrize(("module", "row", "extra"), [
    (serving, "serve", "the extra serve"), (executors, "ray", "the extra ray"),
])  # fmt: skip
def test_without_its_extra_a_row_says_so(module, row, extra, monkeypatch, tmp_path):
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    (found,) = getattr(module, row)(tmp_path, 1)
    assert (found.row, found.ours, found.peers, found.missing) == (row, None, {}, (extra,))
