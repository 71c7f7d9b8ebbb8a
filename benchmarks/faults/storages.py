"""A file storage that does not answer while a file says so."""

from __future__ import annotations

import errno
from itertools import count
from typing import Any

from django.core.files.storage import FileSystemStorage

from benchmarks.faults.troubled import place

FLAG, DOWN, FLAKY = "storage-trouble", "down", "every second time"
_asked = count()


class Troubled(FileSystemStorage):
    """Reads no file and stores no thumbnail while it is down; uploads it takes always, for there is no other way in."""

    def _open(self, name: str, mode: str = "rb") -> Any:
        _answer(name)
        return super()._open(name, mode)

    def _save(self, name: str, content: Any) -> str:
        if "thumbnails" in name:
            _answer(name)
        return super()._save(name, content)


def _answer(name: str) -> None:
    flag = place(FLAG)
    trouble = flag.read_text() if flag.exists() else ""
    if trouble == DOWN or (trouble == FLAKY and next(_asked) % 2):
        raise OSError(errno.EHOSTUNREACH, "No route to host", name)
