"""Readers that misbehave, for a child to die of. No Django here: the child has none."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from typing import Any

from mediasearch.features.base import Reading


class Sleeper:
    """A reader that hangs, in a process of its own as tesseract would."""

    def read(self, image: Any) -> None:
        subprocess.run(["sleep", "600"], check=False)


class Killer:
    """A reader that dies as a library with a memory fault does."""

    def read(self, image: Any) -> None:
        os.kill(os.getpid(), signal.SIGSEGV)


class Glutton:
    """A reader that wants more memory than there is."""

    def read(self, image: Any) -> None:
        bytearray(8_000_000_000)


class Deserter:
    """A reader that answers and leaves a process behind, which no polite signal ends."""

    def read(self, image: Any) -> Any:
        subprocess.Popen(["sh", "-c", "trap '' TERM; sleep 601 & wait"])
        return Reading()


class Litterer:
    """A reader that leaves a temporary file behind, and hangs."""

    def read(self, image: Any) -> None:
        tempfile.mkstemp(prefix="litter-")
        time.sleep(600)


class Writer:
    """A reader that fills the disk."""

    def read(self, image: Any) -> None:
        with tempfile.TemporaryFile() as file:
            file.truncate(300_000_000)
