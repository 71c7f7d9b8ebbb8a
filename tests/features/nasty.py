"""Readers that misbehave, for a child to die of. No Django here: the child has none."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import threading
import time
from contextlib import suppress
from typing import Any

from mediasearch.features.base import Access, Reading, TextReader, Word


class Sleeper(TextReader):
    """A reader that hangs, in a process of its own as tesseract would."""

    def access(self) -> Access:
        return Access(programs=["sleep"])

    def read(self, image: Any) -> Any:
        subprocess.run(["sleep", "600"], check=False)


class Killer(TextReader):
    """A reader that dies as a library with a memory fault does."""

    def read(self, image: Any) -> Any:
        os.kill(os.getpid(), signal.SIGSEGV)


class Glutton(TextReader):
    """A reader that wants more memory than there is."""

    def read(self, image: Any) -> Any:
        bytearray(8_000_000_000)


class Deserter(TextReader):
    """A reader that answers and leaves a process behind, which no polite signal ends."""

    def access(self) -> Access:
        return Access(programs=["sh", "sleep"])

    def read(self, image: Any) -> Any:
        subprocess.Popen(["sh", "-c", "trap '' TERM; sleep 601 & wait"])
        return Reading()


class Litterer(TextReader):
    """A reader that leaves a temporary file behind, and hangs."""

    def read(self, image: Any) -> Any:
        tempfile.mkstemp(prefix="litter-")
        time.sleep(600)


class Snoop(TextReader):
    """A reader that wants a file, and says so where it is told to."""

    def __init__(self, path: str, honest: bool) -> None:
        self.path, self.honest = path, honest

    def access(self) -> Access:
        return Access(folders=[self.path]) if self.honest else Access()

    def read(self, image: Any) -> Any:
        with open(self.path) as file:
            return Reading((Word(file.read(), (0.0, 0.0, 1.0, 1.0), 1.0, 0),))


class Liar(TextReader):
    """A reader that was taken over, and writes to whoever listens."""

    def __init__(self, frame: str) -> None:
        self.frame = bytes.fromhex(frame)

    def read(self, image: Any) -> Any:
        for descriptor in range(3, 10):
            with suppress(OSError):
                os.write(descriptor, self.frame)
        time.sleep(600)


class Eager(TextReader):
    """A reader that starts a thread before it is asked for anything."""

    def __init__(self) -> None:
        threading.Thread(target=time.sleep, args=[600], daemon=True).start()

    def read(self, image: Any) -> Any:
        return Reading()


class Writer(TextReader):
    """A reader that fills the disk."""

    def read(self, image: Any) -> Any:
        with tempfile.TemporaryFile() as file:
            file.truncate(300_000_000)
