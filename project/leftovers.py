"""End what a demo left behind that was killed: the processes that carry its mark, and no others.

`python -m project.leftovers` does so by hand; `make clean` runs it.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

MARK = "MEDIASEARCH_DEMO"
"""The environment variable that every process of a demo has, with the demo's folder in it."""
_SUPERVISOR_SECONDS, _OTHERS_SECONDS = 45.0, 10.0


def find(data: Path) -> list[psutil.Process]:
    """Return the processes of the demo that lives in this folder, and those that they started."""
    marked = [process for process in psutil.process_iter() if _marked(process, str(data.resolve()))]
    found = {process.pid: process for process in marked}
    for process in marked:
        with suppress(psutil.Error):
            found |= {child.pid: child for child in process.children(recursive=True)}
    # PostgreSQL's main process ends its own children; anything else that ends one of them is a crash to it.
    return [process for process in found.values() if not _first_word(process).startswith("postgres: ")]


def end(data: Path, *, hard: bool = False) -> int:
    """End them, `hard` without giving them time; return how many there were."""
    processes = find(data)
    if not hard:
        supervisors = [process for process in processes if "supervisor.supervisord" in command(process)]
        _signal(supervisors, signal.SIGTERM)
        psutil.wait_procs(supervisors, _SUPERVISOR_SECONDS)
        finish(processes)
    _kill([*processes, *find(data)])
    return len(processes)


def finish(processes: Sequence[psutil.Process]) -> None:
    """End what still runs of these."""
    for process in processes:
        # PostgreSQL would wait for its connections on TERM.
        _signal([process], signal.SIGINT if Path(_first_word(process)).name == "postgres" else signal.SIGTERM)
    _, alive = psutil.wait_procs(processes, _OTHERS_SECONDS)
    _kill(alive)


def _kill(processes: Sequence[psutil.Process]) -> None:
    _signal(processes, signal.SIGKILL)
    psutil.wait_procs(processes, _OTHERS_SECONDS)


def _marked(process: psutil.Process, folder: str) -> bool:
    try:
        if process.pid == os.getpid():
            return False
        # Valkey writes its title over its environment; it is the one of that name that works in the demo's folder.
        if process.name() == "valkey-server":
            return Path(process.cwd()).is_relative_to(folder)
        return bool(process.environ().get(MARK) == folder)
    except (psutil.Error, OSError):
        return False


def _signal(processes: Iterable[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        try:
            process.send_signal(number)
        except psutil.NoSuchProcess:
            continue


def _first_word(process: psutil.Process) -> str:
    return next(iter(command(process)), "")


def command(process: psutil.Process) -> list[str]:
    """Return a process's command line; nothing where it has ended."""
    try:
        return list(process.cmdline())
    except psutil.Error:
        return []


if __name__ == "__main__":
    from project.settings import DATA

    number = end(DATA)
    print(f"{number} processes of the demo ended." if number else "No demo runs.")
