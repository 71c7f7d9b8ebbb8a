"""How long somebody waits for an encoder: all that is asked within one `shared()` together, and not each thing anew."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any


class Patience:
    """What is left of the time that somebody has for an encoder."""

    def __init__(self, seconds: float | None = None) -> None:
        self._seconds, self._waited = seconds, 0.0

    def left(self, usual: float) -> float:
        """Return how many seconds are left, of so many unless others were given."""
        return max((usual if self._seconds is None else self._seconds) - self._waited, 0.0)

    def wait(self, answer: Future[Any], usual: float) -> bool:
        """Wait for an answer for as long as there is time; return whether it is there."""
        began = time.monotonic()
        try:
            return bool(wait([answer], self.left(usual)).done)
        finally:
            self._waited += time.monotonic() - began


_shared: ContextVar[Patience | None] = ContextVar("mediasearch_patience", default=None)


@contextmanager
def shared(seconds: float | None = None) -> Iterator[None]:
    """Have all questions within wait together no longer than one; than so many seconds, where they are given."""
    before = _shared.set(Patience(seconds))
    try:
        yield
    finally:
        _shared.reset(before)


def current() -> Patience:
    """Return what is left to whoever asks now."""
    return _shared.get() or Patience()
