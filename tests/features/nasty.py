"""Readers that misbehave, for a child to die of. No Django here: the child has none."""

from __future__ import annotations

import os
import signal
import subprocess
from typing import Any


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
