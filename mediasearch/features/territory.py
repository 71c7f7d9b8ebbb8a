"""Which files a confined child may use: Python's and the system's libraries, and what a reader asks for.

The folder of a site's project is usually on the module search path; nothing is readable just because it is there.
"""

from __future__ import annotations

import importlib
import os
import shutil
import struct
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from importlib.util import find_spec

from mediasearch.features import landlock
from mediasearch.features.base import Access
from mediasearch.features.landlock import Grant

_LIBRARIES = ("/lib", "/lib32", "/lib64", "/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/local/lib", "/usr/local/lib64",
              "/nix/store", "/gnu/store")  # fmt: skip
_DATA = ("/etc/ld.so.cache", "/etc/localtime", "/usr/share/zoneinfo", "/usr/share/locale", "/usr/share/i18n")
_HARDWARE = ("/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/sys/devices/system/cpu")
"""For libraries that choose their code, and count their threads, by the processor."""
_SOURCES = ("/dev/urandom", "/dev/random", "/dev/zero")
_INSTALLED = ("/site-packages", "/dist-packages", "/lib-dynload")
_MODULES = ("mediasearch", "PIL", "numpy", "pillow_heif", "defusedxml")
"""What opens files, in case that it is not where Python installs libraries."""
_DISTRIBUTIONS = {"PIL": "pillow"}
_OWN_FOLDERS = ("lib", "lib64", "share/tessdata", "share/tesseract-ocr")
"""Of a program, beside the folder that it is in."""
_INTERPRETER = 3
"""The type of an ELF header that names the program's dynamic loader."""


def grants(folder: str, access: Access) -> list[Grant]:
    """Return what a child may do with files whose own folder is `folder`. Imports what could not be found later."""
    libraries = list(_libraries())
    readable = [*libraries, *_DATA, *_HARDWARE, *_SOURCES, *access.folders]
    for name in (*_MODULES, *access.modules):
        readable += _outside(name, libraries)
    programs = [path for name in access.programs for path in _with_loader(name)]
    readable += [path for program in programs for path in _beside(program)]
    return [
        *((path, landlock.READ) for path in readable),
        *((path, landlock.RUN) for path in programs),
        ("/dev/null", landlock.USE),
        (folder, landlock.OWN),
    ]


def _libraries() -> Iterator[str]:
    """Yield the folders of libraries: those of Python below its prefixes, never a prefix itself."""
    yield from _LIBRARIES
    for prefix in {sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix}:
        yield from (os.path.join(prefix, name) for name in ("lib", "lib64", "pyvenv.cfg"))
    yield os.path.dirname(os.__file__)
    yield from (path for path in sys.path if path.endswith(_INSTALLED))
    yield from filter(None, os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep))


def _outside(name: str, libraries: Iterable[str]) -> Iterator[str]:
    """Import a module that is in none of these folders, and yield the folders of the package that it is."""
    with suppress(ImportError, ValueError):
        spec = find_spec(name)
        folders = list(spec.submodule_search_locations or ()) if spec else []
        if spec and not any(_is_below(place, libraries) for place in (spec.origin or "", *folders)):
            importlib.import_module(name)
            yield from folders
            beside = f"{_DISTRIBUTIONS.get(name, name)}.libs"  # Where wheels keep their shared libraries.
            yield from (os.path.join(os.path.dirname(folder), beside) for folder in folders)


def _is_below(path: str, folders: Iterable[str]) -> bool:
    return any(path.startswith(folder.rstrip("/") + "/") for folder in folders)


def _with_loader(name: str, depth: int = 2) -> Iterator[str]:
    """Yield a program's path, and that of what the kernel starts for it: the loader, or a script's interpreter."""
    path = name if os.path.isdir(name) else shutil.which(name)
    if path is None:
        return
    yield path
    if not depth or os.path.isdir(path):
        return
    with suppress(OSError, struct.error, UnicodeDecodeError):
        started = _script_line(path) or [_loader(path)]
        for word in filter(None, started):
            yield from _with_loader(word, depth - 1)


def _script_line(path: str) -> list[str]:
    with open(path, "rb") as file:
        first = file.readline(256)
    return first[2:].decode().split() if first.startswith(b"#!") else []


def _loader(path: str) -> str:
    """Return the dynamic loader that a 64-bit ELF program names; "" where it names none."""
    with open(path, "rb") as file:
        head = file.read(64)
        if head[:5] != b"\x7fELF\x02":
            return ""
        (start,), (size, count) = struct.unpack_from("=Q", head, 32), struct.unpack_from("=HH", head, 54)
        for number in range(count):
            file.seek(start + number * size)
            kind, _, offset, _, _, length = struct.unpack("=IIQQQQ", file.read(40))
            if kind == _INTERPRETER:
                file.seek(offset)
                return file.read(min(length, 4_096)).rstrip(b"\0").decode()
    return ""


def _beside(program: str) -> Iterator[str]:
    """Yield where a program's own libraries and data are; its links lead to where it was installed."""
    for path in {program, os.path.realpath(program)}:
        yield from (os.path.join(os.path.dirname(os.path.dirname(path)), name) for name in _OWN_FOLDERS)
