"""Threads that nobody has to wait for: not whoever gives them a task, and not the process when it ends."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")


class Crew:
    """So many threads at most, each started when it is needed; `concurrent.futures` would have the process wait."""

    def __init__(self, most: int, name: str) -> None:
        self._most, self._name = most, name
        self._tasks: SimpleQueue[tuple[Future[Any], Callable[[], Any]]] = SimpleQueue()
        self._counting = threading.Lock()
        self._started = 0
        self._free = 0
        """Threads without a task, less the tasks that wait for a thread."""

    def submit(self, task: Callable[[], T]) -> Future[T]:
        """Have a task done. Raises RuntimeError where the system gives no thread for it."""
        with self._counting:
            if self._free > 0 or self._started == self._most:
                self._free -= 1
            else:  # The new thread is for this task, and never free before it.
                threading.Thread(target=self._work, name=f"{self._name}-{self._started}", daemon=True).start()
                self._started += 1
        future: Future[T] = Future()
        self._tasks.put((future, task))
        return future

    def _work(self) -> None:
        while True:
            _do(*self._tasks.get())
            with self._counting:
                self._free += 1


def _do(future: Future[Any], task: Callable[[], Any]) -> None:
    # In a function of its own, so that a thread which waits for more holds on to nothing.
    if future.set_running_or_notify_cancel():
        try:
            future.set_result(task())
        except BaseException as error:  # It belongs to whoever waits for the future.
            future.set_exception(error)
