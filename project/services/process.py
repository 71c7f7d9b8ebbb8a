"""A server as a child process: started, waited for, and stopped with the process that started it."""

from __future__ import annotations

import atexit
import os
import pwd
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


class ServiceError(Exception):
    """A server can't be set up or does not start; the message is one sentence for people."""


@dataclass(frozen=True, slots=True)
class Service:
    """How a server is run: in the foreground, by whoever wants to."""

    name: str
    command: tuple[str, ...]
    folder: Path
    url: str
    user: str | None = None
    """Another user to run as, where this process is root's and the server refuses to be."""
    stop_signal: str = "TERM"


class Running:
    """A running server. Its output goes to a file: a pipe that nobody reads would stop it one day."""

    def __init__(self, service: Service, log: Path, *, keep: bool = False) -> None:
        self.service, self.log = service, log
        self._starter = os.getpid()
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                service.command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=service.folder,
                start_new_session=True,  # Ctrl-C in the terminal is for us to handle, not for the server.
                **as_user(service.user),
            )
        if not keep:
            atexit.register(self.stop)

    @property
    def url(self) -> str:
        return self.service.url

    def wait(self, ready: Callable[[str], bool]) -> None:
        """Wait until the server answers. Raises ServiceError where it ends instead, or takes too long."""

        def answers() -> bool:
            if self._process.poll() is not None:
                raise ServiceError(f"{self.service.name} ended at once; {self.log} says why.")
            return ready(self.url)

        try:
            until(answers, self.service.name, self.log)
        except ServiceError:
            self.stop()
            raise

    def stop(self, seconds: float = 15.0) -> None:
        """Stop the server, and wait until it has ended; in a forked process this does nothing."""
        atexit.unregister(self.stop)
        if os.getpid() != self._starter or self._process.poll() is not None:
            return
        self._process.send_signal(signal.Signals[f"SIG{self.service.stop_signal}"])
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def until(answers: Callable[[], bool], name: str, log: Path, seconds: float = 60.0) -> None:
    """Wait until a server answers. Raises ServiceError, which names the server's log, where it takes too long."""
    end = time.monotonic() + seconds
    while not answers():
        if time.monotonic() > end:
            raise ServiceError(f"{name} did not answer in {seconds:.0f} seconds; {log} says why.")
        time.sleep(0.05)


def as_user(name: str | None) -> dict[str, Any]:
    """Return what subprocess needs to run a command as a user; nothing for None."""
    if name is None:
        return {}
    entry = pwd.getpwnam(name)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
