"""A line that says how far a long command is."""

from __future__ import annotations

import time
from typing import TextIO

from mediasearch.indexing.watching import Step

_WIDTH = 30
_EVERY = {True: 0.1, False: 10.0}
"""Seconds between two lines, on a terminal and elsewhere."""


class Progress:
    """Shows done, total, rate and time left; redraws in place on a terminal, writes a line now and then elsewhere."""

    def __init__(self, stream: TextIO, label: str, total: int, *, quiet: bool = False) -> None:
        self._stream, self._label, self._total, self._quiet = stream, label, total, quiet
        self._on_terminal = hasattr(stream, "isatty") and stream.isatty()
        self._started = time.monotonic()
        self._shown_at = 0.0 if self._on_terminal else self._started

    def show(self, done: int, total: int | None = None) -> None:
        """Say that so many are done, unless the last line is only a moment old."""
        self._total = self._total if total is None else total
        now = time.monotonic()
        finished = done >= self._total
        if self._quiet or (not finished and now - self._shown_at < _EVERY[self._on_terminal]):
            return
        self._shown_at = now
        self._stream.write(f"\r{self._line(done, now)}\033[K" if self._on_terminal else f"{self._line(done, now)}\n")
        self._stream.flush()

    def end(self) -> None:
        """Leave the line."""
        if self._on_terminal and not self._quiet:
            self._stream.write("\n")

    def _line(self, done: int, now: float) -> str:
        share = done / self._total if self._total else 1.0
        bar = "#" * int(share * _WIDTH)
        rate = done / max(now - self._started, 1e-6)
        left = f", {(self._total - done) / rate:.0f} s left" if 0 < done < self._total else ""
        return f"{self._label} [{bar:<{_WIDTH}}] {done}/{self._total}, {rate:.1f}/s{left}"


class Steps:
    """Shows one step after another, each on a line of its own.

    A step of unknown length is left out, unless somebody is waited for.
    """

    def __init__(self, stream: TextIO, *, quiet: bool = False) -> None:
        self._stream, self._quiet = stream, quiet
        self._label = ""
        self._progress: Progress | None = None

    def show(self, step: Step) -> None:
        """Say how far a step is."""
        if step.label != self._label:
            self.end()
            self._label = step.label
            if step.waits and not self._quiet:
                self._stream.write(f"{step.label}\n")
        if step.done < step.total:
            if self._progress is None:
                self._progress = Progress(self._stream, step.label, step.total, quiet=self._quiet)
            self._progress.show(step.done, step.total)

    def end(self) -> None:
        """Leave the line, if there is one."""
        if self._progress:
            self._progress.end()
        self._progress = None
