"""What a child could still do if a file took it over: it tries, after it was confined."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress

from mediasearch.features import kernel


def _reads(folder: str) -> bool:
    return bool(os.listdir("/"))


def _writes(folder: str) -> bool:
    beside = f"{folder}-beside"
    os.close(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    os.unlink(beside)
    return True


def _traces(folder: str) -> bool:
    os.close(os.open(f"/proc/{os.getppid()}/mem", os.O_RDONLY))
    return True


def _connects(folder: str) -> bool:
    os.close(kernel.datagram_socket())
    return True


def _starts(folder: str) -> bool:
    """Start Python, which is none of the programs that a reader may."""
    os.waitpid(os.posix_spawn(sys.executable, [sys.executable, "-ISc", ""], {}), 0)
    return True


def _signals(folder: str) -> bool:
    os.kill(os.getppid(), 0)
    return True


THREADS = "threads"
"""Can't be tried afterwards: the child counts them before it is confined."""
EXPOSURES: dict[str, tuple[str, Callable[[str], bool]]] = {
    "files": ("read the site's settings and files, and the environment of its processes", _reads),
    "writing": ("write files wherever the site may", _writes),
    "memory": ("read and change the memory of the site's processes", _traces),
    "network": ("reach the database, the broker and other machines", _connects),
    "programs": ("start programs", _starts),
    "signals": ("stop the site's processes", _signals),
    THREADS: ("read and write files in threads that a reader started when it was imported", lambda folder: False),
}
"""What a confined child must not be able to do: a name, what follows "could", and an attempt that is given the child's
own folder and raises OSError where the kernel refuses."""


def exposures(folder: str) -> list[str]:
    """Return the names, of EXPOSURES, of what succeeds."""
    return [name for name, (_, attempt) in EXPOSURES.items() if _succeeds(attempt, folder)]


def _succeeds(attempt: Callable[[str], bool], folder: str) -> bool:
    with suppress(OSError):
        return attempt(folder)
    return False
