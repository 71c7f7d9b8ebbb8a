"""A lock of this process's drains, shared by all and exclusive for a suspect: what may end the process is in it alone.

With one drain in a process, as in a pool of processes, it is never waited for. Threads of one process share its fate.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

PATIENCE = 60.0
"""Seconds that a suspect waits for the batches of other threads before it is given back, to be claimed again."""
_LOOK_EVERY = 1.0


class Exclusion:
    """Readers are drains, each for as long as it holds claims; the writer is one of them, with a suspect to compute."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._drains = 0
        self._exclusive = False

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Count as a drain that holds claims; waits while another has a suspect in its model, or is about to."""
        with self._changed:
            self._changed.wait_for(lambda: not self._exclusive)
            self._drains += 1
        try:
            yield
        finally:
            with self._changed:
                self._drains -= 1
                self._changed.notify_all()

    def wanted(self) -> bool:
        """Should a drain that holds the lock settle what it has, and end?"""
        return self._exclusive

    @contextmanager
    def exclusive(self, keep: Callable[[], None]) -> Iterator[bool]:
        """Yield whether all other drains of this process have ended; a drain that holds the lock asks for it.

        `keep` is called while they are waited for, which renews a lease. False where another drain asked before, or
        where they did not end in PATIENCE seconds.
        """
        with self._changed:
            first, self._exclusive = not self._exclusive, True
        if not first:
            yield False
            return
        try:
            yield self._others_ended(keep)
        finally:
            with self._changed:
                self._exclusive = False
                self._changed.notify_all()

    def _others_ended(self, keep: Callable[[], None]) -> bool:
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            with self._changed:
                if self._changed.wait_for(lambda: self._drains == 1, _LOOK_EVERY):
                    return True
            keep()
        return False
