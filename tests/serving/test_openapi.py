"""The OpenAPI description: random requests by it, and nothing that is loaded from elsewhere."""

import json
import subprocess
import sys
from pathlib import Path

import pytest


def test_the_description_is_served_and_no_page_of_others(server):
    found = server.ask("GET", "/openapi.json").json
    assert {*found["paths"]} == {
        "/v2", "/v2/health/live", "/v2/health/ready", "/v2/models/{name}",
        "/v2/models/{name}/ready", "/v2/models/{name}/infer", "/v1/models", "/v1/score",
    }  # fmt: skip
    assert server.ask("GET", "/docs").status == 404
    assert server.ask("GET", "/redoc").status == 404


def test_every_answer_forbids_what_the_page_does_not_need(server):
    for path in ("/", "/nothing", "/v1/models"):
        headers = server.ask("GET", path).headers
        assert headers["content-security-policy"].startswith("default-src 'self';")
        assert headers["x-content-type-options"] == "nosniff"
        assert "server" not in headers


@pytest.mark.slow
def test_random_requests_are_answered_as_described(server, tmp_path):
    # a schema cannot say that a tensor has as many elements as its shape, nor which are base64
    (tmp_path / "schemathesis.toml").write_text(
        "[[operations]]\ninclude-path = '/v2/models/{name}/infer'\n"
        "[operations.checks]\npositive_data_acceptance.enabled = false\n"
    )
    command = [
        str(Path(sys.executable).with_name("schemathesis")),
        "run",
        f"http://{server.host}:{server.port}/openapi.json",
        "--max-examples=15",
        "--seed=1",
        "--workers=1",
        "--suppress-health-check=all",
    ]
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert result.returncode == 0, result.stdout[-6000:]
    assert json.dumps(server.log()).count('"event": "fault"') == 0
