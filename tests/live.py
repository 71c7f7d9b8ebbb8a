"""Celery workers in processes of their own, on the test database and a real broker."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import psutil
from django.db import connection

ROOT = Path(__file__).resolve().parent.parent


def until(condition: Callable[[], object], what: str, seconds: float = 30.0) -> None:
    """Wait until something holds, or fail and say what did not."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"after {seconds:g} s: {what}"
        time.sleep(0.02)


def environment(data: Path, **more: str) -> dict[str, str]:
    """What a process needs to work on the test's own database and files."""
    place = connection.settings_dict
    url = f"postgresql://{place['USER']}@/{place['NAME']}?host={quote(place['HOST'], safe='')}"
    return {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "DATABASE_URL": url,
        "MEDIASEARCH_DATA": str(data),
        "TOKENIZERS_PARALLELISM": "false",
        **more,
    }


class Worker:
    """One Celery worker, with its log in a file."""

    def __init__(self, data: Path, *queues: str, options: Sequence[str] = (), **environ: str) -> None:
        """`options` go after those that all workers have, and `environ` to the process."""
        self.log = data / f"worker-{'-'.join(queues)}-{time.monotonic_ns()}.log"
        command = [*self.command(*queues), *options]
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                command,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=ROOT,
                env=environment(data, **environ),
                start_new_session=True,
            )

    @staticmethod
    def command(*queues: str) -> list[str]:
        command = [sys.executable, "-m", "celery", "--app", "project", "worker", "--concurrency", "1"]
        command += ["--queues", ",".join(queues), "--loglevel", "INFO", "--without-gossip", "--without-mingle"]
        return [*command, "--hostname", f"{time.monotonic_ns()}@test"]

    def wait_ready(self, seconds: float = 60.0) -> Worker:
        until(lambda: b" ready." in self.log.read_bytes(), f"the worker is not ready: {self.said()}", seconds)
        return self

    def said(self) -> str:
        return self.log.read_text(errors="replace")[-3_000:]

    def pool_processes(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children()

    def kill(self) -> None:
        """End it the hard way, with all its processes."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        """Ask it to end; it has a moment."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            pass
        finally:
            self.kill()


class CommandWorker(Worker):
    """A worker without Celery, with one process for each queue."""

    @staticmethod
    def command(*queues: str) -> list[str]:
        return [sys.executable, "manage.py", "mediasearch_worker"]

    def wait_ready(self, seconds: float = 60.0) -> Worker:
        until(lambda: len(self.pool_processes()) == 2, f"the processes are not there: {self.said()}", seconds)
        return self
