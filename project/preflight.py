"""What must hold before anything is installed or started; needs nothing but Python, even one that is too old.

Run by the Makefile as `python -I project/preflight.py --port 8000`.
"""

from __future__ import annotations

import argparse
import importlib.util
import shutil
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

OLDEST = (3, 11)
TO_INSTALL, TO_RUN = 10_000_000_000, 1_000_000_000
"""Bytes that must be free: the environment takes 7 GB, torch most of it, and what pip downloads lies beside it."""


def python_problem(
    version: Sequence[Any] = sys.version_info, find: Callable[[str], object] = importlib.util.find_spec
) -> str | None:
    """Return why this Python can't make the virtual environment, or None."""
    if tuple(version[:2]) < OLDEST:
        return (
            f"This needs Python {OLDEST[0]}.{OLDEST[1]} or newer, and this is {version[0]}.{version[1]}:"
            " name another one, such as `make demo PYTHON=python3.12`."
        )
    if find("venv") is None or find("ensurepip") is None:
        return (
            "This Python can't make virtual environments: install its venv module"
            f" (Debian and Ubuntu: `apt install python3.{version[1]}-venv`)."
        )
    return None


def disk_problem(folder: Path, needed: float, usage: Callable[[Path], Any] = shutil.disk_usage) -> str | None:
    """Return that a folder's disk has too little room, or None."""
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    free = usage(existing).free
    if free >= needed:
        return None
    return (
        f"The disk of {folder} has only {free / 1e9:.1f} GB free, and this needs {needed / 1e9:.0f} GB:"
        " make room and run it again."
    )


def port_problem(port: int) -> str | None:
    """Return that a web server could not listen on this port of this machine, or None."""
    if not 0 < port < 65536:
        return f"There is no port {port}: choose one from 1024 to 65535, such as `make demo PORT=8001`."
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            probe.listen()  # Linux finds out only here about a second listener that also allows reuse.
        except PermissionError:
            return f"Port {port} is for root only: choose one from 1024 up, such as `make demo PORT=8001`."
        except OSError:
            return f"Port {port} is taken by another program: choose another one, such as `make demo PORT=8001`."
    return None


def main() -> str | None:
    """Return the first problem, as one sentence."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int)
    port = parser.parse_args().port
    return (
        python_problem() or disk_problem(Path.cwd(), TO_INSTALL) or (port_problem(port) if port is not None else None)
    )


if __name__ == "__main__":
    sys.exit(main())
