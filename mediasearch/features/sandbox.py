"""Open untrusted files in a process that can be killed.

A Sandbox owns one long-lived `mediasearch.features.child`, started when first needed and replaced after a crash, a
time-out, a number of files, or one that left processes behind. What a child answers is not trusted, either.
`subprocess` and not `multiprocessing`: Celery's pool processes are daemons and may not have children of that kind.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, Any

from mediasearch import exceptions
from mediasearch.features import child, warden
from mediasearch.features.exposure import EXPOSURES

logger = logging.getLogger(__name__)
_KEPT_VARIABLES = ("PATH", "LANG", "LC_ALL", "TESSDATA_PREFIX", "LD_LIBRARY_PATH")
_ONE_THREAD = {"OMP_THREAD_LIMIT": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
_GIVING_BACK = {"MALLOC_MMAP_THRESHOLD_": "8000000", "MALLOC_TRIM_THRESHOLD_": "16000000", "MALLOC_ARENA_MAX": "2"}
"""For glibc, whose rule of its own would keep the memory of a large picture, and in pieces."""
_PIPE = 1 << 20
"""Bytes on their way before one side waits for the other: as many as Linux gives to anybody."""
_WARDEN_SECONDS = 5.0
_PROCESSOR_TIME = 2
"""Seconds of processor time for each second of the budget: two threads may work all the time."""


@dataclass(frozen=True, slots=True)
class Budget:
    """What one child may use."""

    seconds: float = 20.0
    """Wall clock for one file."""
    memory: int = 560_000_000
    """Bytes that it may allocate."""
    files: int = 500
    """Requests after which the child is replaced, so that leaks stay small."""
    gives_back: bool = True
    """Does the memory of a picture go back to the system after it? An engine would take half as long again."""


class Sandbox:
    """Answers requests about files, one at a time; safe to share between threads and to inherit over a fork."""

    def __init__(self, budget: Budget | None = None) -> None:
        self.budget = budget or Budget()
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._errors: IO[bytes] | None = None
        self._folder = ""
        self._owner = 0
        self._served = 0
        self._reader: tuple[str, str] | None = None
        self.exposed: tuple[str, ...] = ()
        """What the last child that answered could still do, of `exposure.EXPOSURES`."""

    def call(
        self, operation: str, data: bytes, options: dict[str, Any], *, waits: bool = True
    ) -> tuple[dict[str, Any], bytes]:
        """Carry out an operation of `child.OPERATIONS` on the bytes of one file.

        Raises what the child answered, a Refused, Troublesome or Unavailable; a Troublesome when it died or took too
        long; SandboxUnavailable when it can't be started; unless the caller `waits`, Busy during another's call.
        """
        if not self._lock.acquire(blocking=waits):
            raise exceptions.Busy
        try:
            process = self._ready(child.reader_of(operation, options))
            expired = threading.Event()
            alarm = threading.Timer(self.budget.seconds, self._expire, (process, expired))
            alarm.start()
            try:
                answer = self._exchange(process, {"operation": operation, "options": options}, data)
            finally:
                alarm.cancel()
            if answer is None:
                raise self._crashed(operation, expired.is_set())
            header, payload = answer
            self._served += 1
            exposed = header.pop(child.EXPOSED)
            self.exposed = tuple(name for name in EXPOSURES if isinstance(exposed, list) and name in exposed)
            _tell(self.exposed)
            if header.pop(child.LEAVES) or expired.is_set() or self._served >= self.budget.files:
                self.close()
        finally:
            self._lock.release()
        if "error" in header:
            raise _error(header)
        return header, payload

    def close(self) -> int:
        """End the child; the next call starts another. Returns how it ended, as `subprocess` has it."""
        code = 0
        if self._process is not None and self._errors is not None:
            if self._owner == os.getpid():
                code = _ended(self._process)
                shutil.rmtree(self._folder, ignore_errors=True)
            for stream in (self._process.stdin, self._process.stdout, self._errors):
                if stream is not None:
                    with suppress(BrokenPipeError):
                        stream.close()
        self._process = self._errors = None
        return code

    def _ready(self, reader: tuple[str, str] | None) -> subprocess.Popen[bytes]:
        """Return a child that runs, and that is confined to what this reader needs, or opening files."""
        stays = self._process is not None and self._owner == os.getpid() and self._process.poll() is None
        if not stays or (self._served and reader != self._reader):
            self.close()
            self._start()
        self._reader = reader
        assert self._process is not None
        return self._process

    def _start(self) -> None:
        package_root = str(Path(exceptions.__file__).resolve().parent.parent)
        environment = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ} | _ONE_THREAD
        environment |= {"PYTHONPATH": os.pathsep.join([package_root, *filter(None, sys.path)])}
        if self.budget.gives_back:
            environment |= _GIVING_BACK
        budget = (str(self.budget.memory), str(_PROCESSOR_TIME * self.budget.seconds))
        try:
            self._folder = tempfile.mkdtemp(prefix="mediasearch-")
            self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (lives as long as the child)
            self._process = subprocess.Popen(
                [_python(), "-P", "-m", warden.__name__, child.__name__, *budget, str(os.getpid()), self._folder],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                env=environment,
                start_new_session=True,
                pipesize=_PIPE,
            )
        except OSError as error:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise exceptions.SandboxUnavailable(
                f"The process that opens files could not be started: {error}."
            ) from error
        self._owner, self._served = os.getpid(), 0

    def _exchange(
        self, process: subprocess.Popen[bytes], header: dict[str, Any], data: bytes
    ) -> tuple[dict[str, Any], bytes] | None:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            child.write_frame(process.stdin, header, data)  # type: ignore[arg-type]
            answer = child.read_frame(process.stdout, self.budget.memory)  # type: ignore[arg-type]
            return answer if answer and {child.LEAVES, child.EXPOSED} <= answer[0].keys() else None
        except (BrokenPipeError, ConnectionResetError, ValueError, RecursionError, AttributeError):
            return None

    @staticmethod
    def _expire(process: subprocess.Popen[bytes], expired: threading.Event) -> None:
        expired.set()
        _kill(process)

    def _crashed(self, operation: str, expired: bool) -> exceptions.MediaSearchError:
        assert self._process is not None
        if not expired:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(1.0)  # Killed while it dies, it would not tell of what.
        served, said = self._served, self._last_words()
        died_of = _signal_name(-self.close())
        expired = expired or died_of == "SIGXCPU"
        reason = "time-out" if expired else died_of or said or "no message"
        extra = {"event": "child-killed", "reason": reason, "expired": expired, "served": served}
        logger.warning("A file killed the process that opened it (%s).", reason, extra=extra)
        if not served and "ModuleNotFoundError" in said:
            return exceptions.SandboxUnavailable(f"The process that opens files can't start: {said}")
        if operation == "read":
            if expired:
                return exceptions.ReaderTimeout(f"Reading this picture took more than {self.budget.seconds:g} seconds.")
            return exceptions.ReaderFailed(f"The process that read this picture died ({reason}).")
        if expired:
            return exceptions.DecoderTimeout(
                f"Opening this file took more than {self.budget.seconds:g} seconds. Save a smaller copy of it."
            )
        return exceptions.DecoderCrashed(f"The process that opened this file died ({reason}).")

    def _last_words(self) -> str:
        assert self._errors is not None
        self._errors.seek(0)
        lines = self._errors.read()[-2_000:].decode("utf-8", "replace").splitlines()
        return lines[-1] if lines else ""


def _kill(process: subprocess.Popen[bytes]) -> None:
    process.terminate()  # Its warden hears of it, and kills what opens files and all that this has started.


def _ended(process: subprocess.Popen[bytes]) -> int:
    """End a child and return how it ended, as `subprocess` has it."""
    _kill(process)
    try:
        return process.wait(_WARDEN_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()  # The kernel kills what opens files when its warden ends.
        return process.wait()


def _error(header: dict[str, Any]) -> exceptions.MediaSearchError:
    """Return the error that a child names; it can name no other class."""
    kind = getattr(exceptions, str(header["error"]), None)
    if not (isinstance(kind, type) and issubclass(kind, exceptions.MediaSearchError)):
        kind = exceptions.DecoderCrashed
    return kind(str(header.get("message", "")))


@cache
def _tell(exposed: tuple[str, ...]) -> None:
    """Log once what the children of this process could still do."""
    if exposed:
        logger.warning(
            "A malicious file that takes over the process that opens it could %s. See docs/security.md.",
            "; ".join(EXPOSURES[name][0] for name in exposed),
            extra={"event": "child-exposed", "exposed": list(exposed)},
        )


def _signal_name(number: int) -> str:
    with suppress(ValueError):
        return signal.Signals(number).name
    return ""


def _python() -> str:
    """Return the interpreter; inside an embedding server `sys.executable` names the server instead."""
    candidate = Path(sys.prefix, "bin", "python3")
    return str(candidate) if candidate.exists() else sys.executable
