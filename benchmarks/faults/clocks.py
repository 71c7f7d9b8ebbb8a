"""Clocks that can be set while a program runs, by Debian's libfaketime: the time of day, and no other."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

_LIBRARIES = ("x86_64-linux-gnu", "aarch64-linux-gnu")


class NoFaketime(Exception):
    """libfaketime is not here: `apt-get install faketime`."""


@dataclass(frozen=True, slots=True)
class Clock:
    """The clock of one program, an offset in a file."""

    file: Path

    def set(self, seconds: int) -> None:
        """Have it be so many seconds ahead of the right time."""
        self.file.write_text(f"{seconds:+d}\n")

    def prefix(self) -> tuple[str, ...]:
        """Return what goes before the program's command line. Raises NoFaketime."""
        found = [Path("/usr/lib", kind, "faketime", "libfaketimeMT.so.1") for kind in _LIBRARIES]
        library = next((path for path in found if path.exists()), None)
        if library is None:
            raise NoFaketime("libfaketime is not here: `apt-get install faketime`")
        return (
            "env",
            f"LD_PRELOAD={library}",
            f"FAKETIME_TIMESTAMP_FILE={self.file}",
            "FAKETIME_NO_CACHE=1",
            "FAKETIME_DONT_FAKE_MONOTONIC=1",
            "NO_FAKE_STAT=1",
        )
