"""The log of a server: one JSON object a line, with the id of the request."""

from __future__ import annotations

import json
import logging
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import TextIO

NAME = "synood.serving"
_W = logging.WARNING


class JsonLines(logging.Formatter):
    """A record as a JSON object: `time`, `level`, `event` and the record's `fields`."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line."""
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        row = {
            "time": f"{moment}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            row["traceback"] = self.formatException(record.exc_info)
        return json.dumps(row, ensure_ascii=False)


def log_to(stream: TextIO) -> None:
    """Send what the server and its libraries say to `stream`, and nowhere else."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines())
    for name, level in ((NAME, logging.INFO), ("uvicorn", _W), ("asyncio", _W)):
        logger = logging.getLogger(name)
        logger.handlers[:] = [handler]
        logger.propagate = False
        logger.setLevel(level)
    logging.getLogger("python_multipart").setLevel(logging.CRITICAL)  # a client's broken form


def event(name: str, level: int = logging.INFO, **fields: object) -> None:
    """Log an event with its fields; those that are None are left out."""
    known = {key: value for key, value in fields.items() if value is not None}
    logging.getLogger(NAME).log(level, name, extra={"fields": known})
