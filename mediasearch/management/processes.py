"""A few processes that are kept running: one that ends is started again, as a copy of this one and so without delay."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Sequence
from multiprocessing.process import BaseProcess

_LOOK_EVERY = 0.2
_ENDS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
_SETTLED, _WAIT, _LONGEST_WAIT = 10.0, 0.5, 10.0
_forking = multiprocessing.get_context("fork")


class Kept:
    """A task in a process of its own, started again whenever it ends: the sooner it ended by itself, the later.

    One that was killed, by a picture perhaps, is needed as before.
    """

    def __init__(self, task: Callable[[], None]) -> None:
        self._task = task
        self._wait = _WAIT
        self._start_at = 0.0
        self._started = 0.0
        self.process: BaseProcess | None = None

    def look(self) -> None:
        """Start it if it is not running and its time has come."""
        now = time.monotonic()
        if self.process is not None:
            if (code := self.process.exitcode) is None:
                return
            by_itself = code >= 0 and now - self._started <= _SETTLED
            self._wait = min(2 * self._wait, _LONGEST_WAIT) if by_itself else _WAIT
            self._start_at, self.process = now + (self._wait if by_itself else 0.0), None
        if now >= self._start_at:
            self.process = _forking.Process(target=_apart, args=[self._task])
            self.process.start()
            self._started = now

    def lives(self) -> bool:
        return self.process is not None and self.process.exitcode is None

    def ask_to_end(self) -> None:
        if self.process is not None:
            self.process.terminate()


def _apart(task: Callable[[], None]) -> None:
    os.setsid()  # Ctrl-C reaches the one who keeps it, who then asks it to end.
    task()


def keep(tasks: Sequence[Callable[[], None]], stopping: Callable[[], bool]) -> None:
    """Keep the tasks running until `stopping` answers True; then ask them to end, and wait until they have.

    Nothing may be open here that processes can't share, such as a connection to the database.
    """
    kept = [Kept(task) for task in tasks]
    while not stopping():
        for one in kept:
            one.look()
        time.sleep(_LOOK_EVERY)
    while any(one.lives() for one in kept):
        for one in kept:
            one.ask_to_end()  # Again and again, since one that has only just been forked does not hear it yet.
        time.sleep(_LOOK_EVERY)


class Ending:
    """Answers, within its `with`, whether this process was asked to end, or the one that started it is gone."""

    def __init__(self, parent: int | None = None) -> None:
        self._asked = False
        self._parent = parent

    def __enter__(self) -> Ending:
        self._before = {number: signal.signal(number, self._ask) for number in _ENDS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, number: int, frame: object) -> None:
        if self._asked and number == signal.SIGINT:
            raise KeyboardInterrupt  # The second Ctrl-C is meant.
        self._asked = True

    def __call__(self) -> bool:
        return self._asked or (self._parent is not None and os.getppid() != self._parent)
