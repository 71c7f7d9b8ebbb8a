"""What the process that opens files may use, and how it ends with the process that started it.

Linux enforces all of it. Elsewhere a limit that can't be set is left out, and the sandbox's clock still ends a child.
"""

from __future__ import annotations

import ctypes
import os
import resource
import shutil
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress

_MAPPED = 2_000_000_000
"""Bytes of libraries and models that are mapped, beyond the memory of its own."""
_LARGEST_FILE, _MOST_FILES = 200_000_000, 128
_LOOK_EVERY = 0.5
_PR_SET_CHILD_SUBREAPER = 36


def confine(memory: int) -> None:
    """Bound the memory (bytes that are allocated), the size and number of files, and leave no core behind."""
    _limit(resource.RLIMIT_DATA, memory)
    _limit(resource.RLIMIT_AS, memory + _MAPPED)
    _limit(resource.RLIMIT_FSIZE, _LARGEST_FILE)
    _limit(resource.RLIMIT_NOFILE, _MOST_FILES)
    _limit(resource.RLIMIT_CORE, 0)


def allow(seconds: float) -> None:
    """Give the next file so much processor time; what it starts is given as much. The clock on the wall is not here."""
    used = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
    _, most = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (int(used + seconds) + 1, most))


def end_with(parent: int, folder: str) -> None:
    """From now on, end soon after a parent that was killed, with all that was started, and remove the folder.

    A process that waits for files hears of it anyway; this is for one that is busy, or waits for an engine that hangs.
    The kernel's own signal for this is sent when the *thread* that started a process ends, which is too early.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_LOOK_EVERY)
        shutil.rmtree(folder, ignore_errors=True)
        if os.getpgrp() == os.getpid():
            os.killpg(0, signal.SIGKILL)
        os._exit(1)

    threading.Thread(target=watch, name="parent", daemon=True).start()


def adopt_orphans() -> None:
    """Become the parent of what a process of ours leaves running when it ends, so that it is seen."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def left_processes() -> bool:
    """Does something that was started still run, or has nobody asked how it ended?"""
    waitid: Callable[..., object] | None = getattr(os, "waitid", None)
    if waitid is None:
        return False
    try:
        waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _limit(kind: int, wanted: int) -> None:
    with suppress(OSError, ValueError):
        _, most = resource.getrlimit(kind)
        limit = wanted if most == resource.RLIM_INFINITY else min(wanted, most)
        resource.setrlimit(kind, (limit, limit))
