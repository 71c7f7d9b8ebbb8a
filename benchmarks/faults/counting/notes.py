"""Lines of JSON that any process of an experiment adds to, each written at once and whole."""

from __future__ import annotations

import json
import logging
import os
import time
from pathlib import Path
from typing import Any

EVENTS, ENCODED = "events", "encoded"
"""What the app logs as an event, and what an encoder of `benchmarks.faults.encoders` was given."""


def write(name: str, **facts: Any) -> None:
    """Add a line, with the time and the process that it comes from."""
    line = json.dumps({"at": time.time(), "process": os.getpid(), **facts}) + "\n"
    place = os.open(_path(name), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(place, line.encode())
    finally:
        os.close(place)


def read(name: str) -> list[dict[str, Any]]:
    """Return all lines, in the order in which they were written."""
    path = _path(name)
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


class Handler(logging.Handler):
    """Writes down the records that are events."""

    def emit(self, record: logging.LogRecord) -> None:
        if event := getattr(record, "event", ""):
            facts = {name: getattr(record, name) for name in ("stage", "claimed", "done") if hasattr(record, name)}
            write(EVENTS, event=event, **facts)


def _path(name: str) -> Path:
    return Path(os.environ["MEDIASEARCH_DATA"]) / f"{name}.jsonl"
