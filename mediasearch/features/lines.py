"""Lines in which the questions of one client stand, so that only the first of them is before anybody else's."""

from __future__ import annotations

import threading
import time
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, field

from mediasearch.exceptions import Crowded

_WEIGHT = 0.3
"""Of the newest turn in the mean of their lengths."""


@dataclass(eq=False, slots=True)
class Place:
    """A question's place in its client's line."""

    client: str
    turn: Future[None] = field(default_factory=Future)
    """Done when the question is the first."""
    began: float = 0.0


class Lines:
    """One line for each client that asks; questions of nobody in particular stand in none."""

    def __init__(self) -> None:
        self._lines: dict[str, deque[Place]] = {}
        self._changing = threading.Lock()
        self._pace: float | None = None
        """Mean seconds of a turn, lately."""

    def join(self, client: str, seconds: float) -> Place:
        """Return a place at the end of a client's line.

        Raises Crowded where so many are before it that its turn would not be over within so many seconds.
        """
        place = Place(client)
        with self._changing:
            line = self._lines.setdefault(client, deque()) if client else deque[Place]()
            if line and self._pace and (len(line) + 1) * self._pace > seconds:
                raise Crowded
            line.append(place)
            self._call(line)
        return place

    def leave(self, place: Place, *, in_vain: bool = False) -> None:
        """Take a question out of its line, after its turn or in vain; the next one is the first then, where it was."""
        with self._changing:
            if place.client and not in_vain:
                took = time.monotonic() - place.began
                self._pace = took if self._pace is None else self._pace + _WEIGHT * (took - self._pace)
            line = self._lines.get(place.client)
            if line and place in line:
                line.remove(place)
                self._call(line)
                if not line:
                    del self._lines[place.client]

    @staticmethod
    def _call(line: deque[Place]) -> None:
        if line and not line[0].turn.done():
            line[0].began = time.monotonic()
            line[0].turn.set_result(None)
