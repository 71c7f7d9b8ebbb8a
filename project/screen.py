"""What the demo says: a line for each step, and bars, or plain lines where the output is no terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from project.content import Progress

_WIDTH = 30
_PLAIN_EVERY = 5.0


class Screen:
    """The terminal, or the file that stands in for it."""

    def __init__(self) -> None:
        self.terminal = sys.stdout.isatty()
        self._drawn = 0
        self._said: list[str] = []
        self._said_at = 0.0

    def say(self, text: str = "") -> None:
        self._drawn = 0
        print(text, flush=True)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Say that a step is done, and how long it took; nothing where it fails."""
        started = time.monotonic()
        if self.terminal:
            print(f"  {name} …", end="", flush=True)
        try:
            yield
        except BaseException:
            if self.terminal:
                print(flush=True)
            raise
        print(f"{chr(13) if self.terminal else ''}  {name} … ready ({time.monotonic() - started:.1f} s)", flush=True)

    def show(self, lines: list[str], *, last: bool = False) -> None:
        """Draw lines over those drawn before; without a terminal, print them every few seconds, and the last ones."""
        if self.terminal:
            over = f"\x1b[{self._drawn}A" if self._drawn else ""
            print(over + "".join(f"\x1b[2K{line}\n" for line in lines) + "\x1b[J", end="", flush=True)
            self._drawn = 0 if last else len(lines)
        elif lines != self._said and (last or time.monotonic() - self._said_at >= _PLAIN_EVERY):
            print(*lines, sep="\n", flush=True)
            self._said, self._said_at = lines, time.monotonic()


def bars(progress: Progress, *, wide: bool) -> list[str]:
    """Return a bar for each stage; one line for all of them, unless `wide`."""
    if not wide:
        parts = [f"{_named(stage)} {done}/{total}" for stage, (done, total) in progress.stages.items()]
        lines = ["  " + ", ".join(parts or ["nothing to do yet"])]
    else:
        lines = [
            f"  {_named(stage):<14} {_bar(done, total)} {done}/{total}"
            for stage, (done, total) in progress.stages.items()
        ]
    return lines + [f"  {_named(stage)} waits: {reason}" for stage, reason in sorted(progress.paused.items())]


def _bar(done: int, total: int) -> str:
    full = _WIDTH * done // total if total else _WIDTH
    return "█" * full + "░" * (_WIDTH - full)


def _named(stage: str) -> str:
    return stage.replace("_", " ")
