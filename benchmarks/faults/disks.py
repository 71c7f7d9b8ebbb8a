"""Small file systems in memory, which can be filled: disks that are really full. Only root may mount them."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

FILLER = "filler"


class NoMount(Exception):
    """This machine does not let us mount; the message says why."""


@contextmanager
def mounted(folder: Path, megabytes: float) -> Iterator[Path]:
    """Have a small file system in a folder, over what is in there already. Raises NoMount."""
    folder.mkdir(parents=True, exist_ok=True)
    before = folder.stat()
    size = f"size={int(megabytes * 1024)}k,mode={before.st_mode & 0o777:o},uid={before.st_uid},gid={before.st_gid}"
    try:
        ended = subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", folder], capture_output=True, text=True)
    except OSError as error:
        raise NoMount(str(error)) from error
    if ended.returncode:
        raise NoMount(ended.stderr.strip())
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=False)


@contextmanager
def full(folder: Path) -> Iterator[None]:
    """Leave no room on the file system of a folder, for as long as the `with` lasts."""
    filler = folder / FILLER
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        for size in (1_048_576, 4_096, 1):
            with suppress(OSError):
                while file.write(b"\0" * size):
                    pass
    try:
        yield
    finally:
        filler.unlink()
