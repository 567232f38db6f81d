"""`synood serve`: detectors behind HTTP."""

from __future__ import annotations

import ipaddress
import sys
from pathlib import Path  # noqa: TC003 - the command line reads the annotations
from typing import Annotated

from cyclopts import Parameter

from synood.cli.console import deliver, warn
from synood.cli.options import Device, MovedModels, Whole  # noqa: TC001
from synood.errors import InputError
from synood.serving.limits import Limits

LIMITS = Limits()


def serve(
    detector: Path,
    /,
    *,
    host: str = "127.0.0.1",
    port: Whole = 8000,
    key_file: Path | None = None,
    models: MovedModels = None,
    device: Device = "auto",
    limits: Annotated[Limits, Parameter(name="*")] = LIMITS,
) -> None:
    """Serve detectors over HTTP: score images from a page, a script or an inference client.

    GET / is a page to drop images on. POST /v1/score takes images as a form; the Open Inference \
Protocol is at /v2, the OpenAPI description at /openapi.json, metrics for Prometheus at /metrics. \
An image has the same score as by `synood score`.

    With the environment variable SYNOOD_API_KEY, or --key-file, requests need that key as \
"Authorization: Bearer KEY". The log is one JSON object per line on standard error. SIGTERM or \
Ctrl-C ends the server after accepted requests are answered, a second one at once.

    Parameters
    ----------
    detector
        Directory of a detector or a run, or a folder of them to serve each by its name.
    host
        Address to listen on; 0.0.0.0 for all addresses of this machine.
    port
        Port to listen on; 0 takes a free one.
    key_file
        File with the key that clients must show.
    """
    try:
        from synood.serving.server import listening_socket
        from synood.serving.server import serve as run
    except ImportError as error:
        raise InputError(f"serve needs {error.name}: pip install 'synood[serve]'") from None
    from synood.serving.keys import VARIABLE, read_key
    from synood.serving.log import log_to
    from synood.serving.served import load_served

    limits.check()
    key = read_key(key_file)
    with listening_socket(host, port) as listener:
        found = load_served(detector, models, device)
        if key is None and not _is_loopback(listener.getsockname()[0]):
            warn(f"{host} is open to other machines, and no key is set (see {VARIABLE})")
        if sys.stderr is not None:
            log_to(sys.stderr)
        run(listener, found, limits, key, lambda url: deliver(f"{', '.join(found)}: {url}\n"))


def _is_loopback(address: str) -> bool:
    return ipaddress.ip_address(address.partition("%")[0]).is_loopback
