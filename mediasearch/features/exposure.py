"""What a child could still do if a file took it over: it tries, after it was confined."""

from __future__ import annotations

import _socket
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass


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
    _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM).close()
    return True


def _starts(folder: str) -> bool:
    """Start Python, which is none of the programs that a reader may."""
    os.waitpid(os.posix_spawn(sys.executable, [sys.executable, "-ISc", ""], {}), 0)
    return True


def _signals(folder: str) -> bool:
    os.kill(os.getppid(), 0)
    return True


@dataclass(frozen=True, slots=True)
class Exposure:
    """One thing that a confined child must not be able to do."""

    sentence: str
    attempt: Callable[[str], bool]
    """Is given the child's own folder; raises OSError where the kernel refuses."""


EXPOSURES = {
    "files": Exposure("read the site's settings and files, and the environment of its processes", _reads),
    "writing": Exposure("write files wherever the site may", _writes),
    "memory": Exposure("read and change the memory of the site's processes", _traces),
    "network": Exposure("reach the database, the broker and other machines", _connects),
    "programs": Exposure("start programs", _starts),
    "signals": Exposure("stop the site's processes", _signals),
}


def exposures(folder: str) -> list[str]:
    """Return the names, of EXPOSURES, of what succeeds."""
    return [name for name, exposure in EXPOSURES.items() if _succeeds(exposure, folder)]


def _succeeds(exposure: Exposure, folder: str) -> bool:
    with suppress(OSError):
        return exposure.attempt(folder)
    return False
