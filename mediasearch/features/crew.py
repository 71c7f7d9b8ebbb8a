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
        self._idle = threading.Semaphore(0)
        self._hiring = threading.Lock()
        self._started = 0

    def submit(self, task: Callable[[], T]) -> Future[T]:
        """Have a task done. Raises RuntimeError where the system gives no thread for it."""
        if not self._idle.acquire(blocking=False):
            self._hire()
        future: Future[T] = Future()
        self._tasks.put((future, task))
        return future

    def _hire(self) -> None:
        with self._hiring:
            if self._started < self._most:
                threading.Thread(target=self._work, name=f"{self._name}-{self._started}", daemon=True).start()
                self._started += 1

    def _work(self) -> None:
        while True:
            if self._tasks.empty():
                self._idle.release()
            _do(*self._tasks.get())


def _do(future: Future[Any], task: Callable[[], Any]) -> None:
    # In a function of its own, so that a thread which waits for more holds on to nothing.
    if future.set_running_or_notify_cancel():
        try:
            future.set_result(task())
        except BaseException as error:  # It belongs to whoever waits for the future.
            future.set_exception(error)
