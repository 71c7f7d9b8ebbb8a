"""Three lanes for batches: the next one is opened and the last one written while one is computed.

Each lane has one place. Inside a caller's transaction all lanes are the caller's own thread, since another thread's
connection would see nothing of it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, TypeVar

from django.db import Error, connections, transaction

from mediasearch.indexing import outage, sessions

logger = logging.getLogger(__name__)
T = TypeVar("T")
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 5.0


class Lanes:
    """A thread that goes ahead and one that follows, for as long as the `with` lasts."""

    def __init__(self) -> None:
        self._threads: list[ThreadPoolExecutor] = []
        if not transaction.get_connection().in_atomic_block:
            self._threads = [ThreadPoolExecutor(1, f"mediasearch-{name}") for name in ("ahead", "behind")]
        self._following: Future[Any] | None = None

    def __enter__(self) -> Lanes:
        return self

    def ahead(self, task: Callable[[], T]) -> Future[T]:
        """Start a task in the lane ahead."""
        return self._start(0, task)

    def behind(self, task: Callable[[], Any]) -> None:
        """Start a task in the lane behind, when the one there is over; it waits for a database that is away."""
        self.wait()
        self._following = self._start(1, lambda: patiently(task))

    def wait(self) -> bool:
        """Wait until the lane behind is empty; return whether something was there. Raises what it raised."""
        if self._following is None:
            return False
        following, self._following = self._following, None
        following.result()
        return True

    def _start(self, lane: int, task: Callable[[], T]) -> Future[T]:
        if self._threads:
            return self._threads[lane].submit(_lending, task)
        future: Future[T] = Future()
        future.set_result(task())
        return future

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for thread in self._threads:
            thread.submit(connections.close_all)
            thread.shutdown()


def _lending(task: Callable[[], T]) -> T:
    """Return what a task returns, and leave the thread without a connection that others may wait for."""
    try:
        return task()
    finally:
        sessions.give_back()


def patiently(task: Callable[[], T]) -> T:
    """Return what a task returns, however long the database stays away: what was computed must not be lost.

    Inside a transaction there is nothing to wait for, since it is lost with its connection.
    """
    wait = _FIRST_WAIT
    while True:
        try:
            return task()
        except Error as error:
            if transaction.get_connection().in_atomic_block or not outage.passes(error):
                raise
            logger.warning("The database does not take results (%s); trying again in %.1f s.", error, wait)
            connections.close_all()
            time.sleep(wait)
            wait = min(2 * wait, _LONGEST_WAIT)
