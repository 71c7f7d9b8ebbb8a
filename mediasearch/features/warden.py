"""The trusted half of a child, which opens no files and ends the half that does, with all that this started.

It is not confined itself, and what is confined can neither stop nor outlive it. A child is started as
``python -m mediasearch.features.warden mediasearch.features.child ...``: split before the rest is imported, its halves
have few pages in common that would be copied.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import sys
import time
from contextlib import suppress
from importlib import import_module

from mediasearch.features import kernel

_LOOK_EVERY = 0.2
_MOST_TASKS = 200
"""Threads and processes of the other half. RLIMIT_NPROC would count those of the whole site, and none of root's."""
_REAPED_WITHIN = 2.0


def stand_guard(parent: int, folder: str) -> None:
    """Split into the two halves, and return in the one that opens files.

    The other one never returns. When the first ends, when `parent` does, on SIGTERM, and when there are too many tasks,
    it kills what is left, removes the folder and ends in the same way. `parent` is the process that started both.
    """
    warden = os.getpid()
    adopt_orphans()
    stopped: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: stopped.append(number))
    opener = os.fork()
    if opener:
        _end_as(_watch(opener, parent, folder, stopped))
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.setpgid(0, 0)
    with suppress(OSError):
        kernel.control(kernel.DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != warden:
        os._exit(1)


def adopt_orphans() -> None:
    """Become the parent of what a process of ours leaves running when it ends, so that it is seen."""
    with suppress(OSError):
        kernel.control(kernel.SUBREAPER, 1)


def tasks(pid: int) -> int:
    """Return how many threads run in all that descends from a process, or some number above _MOST_TASKS.

    It is 0 where Linux's /proc isn't.
    """
    total, parents = 0, [pid]
    while parents and total <= _MOST_TASKS:
        parent = parents.pop()
        with suppress(OSError):  # It may have ended.
            threads = os.listdir(f"/proc/{parent}/task")
            total += len(threads) if parent != pid else 0
            for thread in threads if total <= _MOST_TASKS else ():
                with open(f"/proc/{parent}/task/{thread}/children") as file:
                    parents += [int(child) for child in file.read().split()]
    return total


def _watch(opener: int, parent: int, folder: str, stopped: list[int]) -> int:
    """Wait until it is time, end everything, and return the status of the half that opens files."""
    with suppress(OSError):
        os.setpgid(opener, opener)  # Whoever of the two is first.
    bell, hammer = os.pipe()
    os.set_blocking(hammer, False)
    signal.set_wakeup_fd(hammer, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)  # Without a handler of Python's, nothing is written to the pipe.
    for descriptor in (0, 1):  # Its ends of the pipes would keep both sides waiting for each other.
        os.close(descriptor)
    status = None
    try:
        while (status := _reaped(opener)) is None:
            if stopped or os.getppid() != parent or tasks(os.getpid()) > _MOST_TASKS:
                break
            if select.select([bell], [], [], _LOOK_EVERY)[0]:
                os.read(bell, 512)
    finally:  # Whatever happens here, nothing stays.
        status = _end(opener, status)
        shutil.rmtree(folder, ignore_errors=True)
    return status


def _reaped(opener: int) -> int | None:
    """Ask all that ended how it did; return the status of the half that opens files, if it is among them."""
    with suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            if ended[0] == opener:
                return ended[1]
    return None


def _end(opener: int, status: int | None) -> int:
    """Kill the group of the half that opens files, and wait until all are gone."""
    until = time.monotonic() + _REAPED_WITHIN
    while time.monotonic() < until:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(opener, signal.SIGKILL)
        try:
            pid, ended = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            break
        if pid == opener:
            status = ended
        if not pid:
            time.sleep(0.002)
    return signal.SIGKILL if status is None else status


def _end_as(status: int) -> None:
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        with suppress(OSError, ValueError):  # SIGKILL has no handler to be set.
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code if code >= 0 else 1)


def main() -> None:
    """Run `main` of a module in the half that opens files.

    The arguments: the module, what else it takes, the parent's process id, and a folder for temporary files.
    """
    stand_guard(int(sys.argv[-2]), sys.argv[-1])
    import_module(sys.argv[1]).main()


if __name__ == "__main__":
    main()
