"""What the process that opens files may use, once and for all, and for each file.

Linux enforces all of it. Elsewhere, and where a container forbids it, what can't be given up is left out; `exposure`
tells what remains then, and the sandbox's clock still ends a child.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Callable
from contextlib import suppress

from mediasearch.features import kernel, landlock, seccomp, territory
from mediasearch.features.base import Access

_MAPPED = 2_000_000_000
"""Bytes of libraries and models that are mapped, beyond the memory of its own."""
_LARGEST_FILE, _MOST_FILES = 200_000_000, 128
_OVERRIDE_PERMISSIONS = 0b110
"""CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH, of the first 32: root reads libraries of others by them."""


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


def enclose(folder: str, access: Access | None) -> None:
    """Give up everything but to compute and to use a folder of its own; call it before there are threads.

    `access` is what a reader needs beyond Python and the system's libraries; without, no program is started.
    """
    grants = territory.grants(folder, access or Access())
    with suppress(OSError, AttributeError):
        kernel.keep_capabilities(_OVERRIDE_PERMISSIONS)
    enforced = landlock.restrict(grants)
    programs = bool(access and access.programs)
    seccomp.install(programs=programs, signals=programs and enforced >= landlock.SCOPES_SIGNALS)


def threads() -> int:
    """Return how many threads this process has; 1 where Linux's /proc isn't. What is given up later is not theirs."""
    with suppress(OSError):
        return len(os.listdir("/proc/self/task"))
    return 1


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
