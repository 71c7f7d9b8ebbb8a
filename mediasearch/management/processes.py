"""A few processes that are kept running: one that ends is started again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from django.conf import settings

_LOOK_EVERY = 0.2
_ENDS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
_SETTLED, _WAIT, _LONGEST_WAIT = 10.0, 0.5, 10.0


def manage(*arguments: str) -> list[str]:
    """Return the command line that runs one of Django's commands as this process was run."""
    script = Path(sys.argv[0])
    if script.suffix == ".py" and script.is_file() and script.name != "__main__.py":
        return [sys.executable, str(script), *arguments]
    return [sys.executable, "-m", "django", *arguments, "--settings", str(settings.SETTINGS_MODULE)]


class Kept:
    """One command, started again whenever it ends: the sooner it ended by itself, the later.

    One that was killed, by a picture perhaps, is needed as before.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self._command = command
        self._wait = _WAIT
        self._start_at = 0.0
        self._started = 0.0
        self.process: subprocess.Popen[bytes] | None = None

    def look(self) -> None:
        """Start it if it is not running and its time has come."""
        now = time.monotonic()
        if self.process is not None:
            if self.process.poll() is None:
                return
            killed = self.process.returncode < 0
            self._wait = _WAIT if killed or now - self._started > _SETTLED else min(2 * self._wait, _LONGEST_WAIT)
            self._start_at, self.process = now + self._wait, None
        if now >= self._start_at:
            # A session of its own: Ctrl-C reaches the one who keeps it, who then asks it to end.
            self.process = subprocess.Popen(self._command, start_new_session=True)
            self._started = now

    def ask_to_end(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()


def keep(commands: Sequence[Sequence[str]], stopping: Callable[[], bool]) -> None:
    """Keep the commands running until `stopping` answers True; then ask them to end, and wait until they have."""
    kept = [Kept(command) for command in commands]
    while not stopping():
        for one in kept:
            one.look()
        time.sleep(_LOOK_EVERY)
    for one in kept:
        one.ask_to_end()
    for one in kept:
        if one.process is not None:
            one.process.wait()


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
