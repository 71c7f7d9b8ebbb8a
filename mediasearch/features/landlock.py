"""Landlock: what a Linux process may do with files, TCP and signals, given up for good by the process itself.

Looked at in December 2026 and not taken: `landlock` (a pre-release since 2025), `py-landlock` and `landlockpy` (months
old, of one author each), and `sandlock` (needs the sixth version of the kernel's interface; most servers have an older
one). https://docs.kernel.org/userspace-api/landlock.html
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable

from mediasearch.features import kernel

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
"""Numbers of system calls, the same on every architecture that wheels are made for."""
_ASK_VERSION, _PATH_BENEATH = 1, 1

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR, _REMOVE_DIR, _REMOVE_FILE = (1 << bit for bit in range(6))
_MAKE_DIR, _MAKE_REGULAR, _REFER, _TRUNCATE = 1 << 7, 1 << 8, 1 << 13, 1 << 14
_ON_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE
_FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 5: 16}
"""How many rights on files each version of the interface knows; the versions between them know no more."""
_SIGNALS_AND_ABSTRACT_SOCKETS, _BIND_AND_CONNECT = 3, 3
SCOPES_SIGNALS = 6
"""The version since which signals reach only processes that are as confined."""

READ = _READ_FILE | _READ_DIR
RUN = READ | _EXECUTE
USE = _READ_FILE | _WRITE_FILE
"""For devices."""
OWN = READ | _WRITE_FILE | _REMOVE_DIR | _REMOVE_FILE | _MAKE_DIR | _MAKE_REGULAR | _REFER | _TRUNCATE
"""All but to run what lies there, and to make links, sockets and devices."""


Grant = tuple[str, int]
"""A file, or a folder with all below it, and the rights to it."""


class _Ruleset(ctypes.Structure):
    _fields_ = [("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scopes", ctypes.c_uint64)]


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = [("rights", ctypes.c_uint64), ("descriptor", ctypes.c_int32)]


def version() -> int:
    """Return the version of the kernel's interface; 0 where there is none, it is switched off, or not allowed."""
    try:
        return max(0, kernel.call(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_ASK_VERSION)))
    except OSError:
        return 0


def restrict(grants: Iterable[Grant]) -> int:
    """Give up everything but the grants, in this thread and what it starts; return the version that sees to it, or 0.

    Grants of paths that don't exist are left out. TCP, and signals and abstract sockets to processes outside, are given
    up where the kernel can (versions 4 and 6). Files that are open stay so.
    """
    known = version()
    if not known:
        return 0
    handled = (1 << max(count for since, count in _FILE_RIGHTS.items() if since <= known)) - 1
    rules = _Ruleset(handled, _BIND_AND_CONNECT, _SIGNALS_AND_ABSTRACT_SOCKETS)
    size = 24 if known >= SCOPES_SIGNALS else 16 if known >= 4 else 8
    try:
        ruleset = kernel.call(_CREATE_RULESET, ctypes.byref(rules), ctypes.c_size_t(size), ctypes.c_uint32(0))
        try:
            for path, rights in grants:
                _add(ruleset, path, rights & handled)
            kernel.control(kernel.NO_NEW_PRIVILEGES, 1)
            kernel.call(_RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint32(0))
        finally:
            os.close(ruleset)
    except OSError:  # A container may forbid the call.
        return 0
    return known


def _add(ruleset: int, path: str, rights: int) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        rule = _PathBeneath(rights if os.path.isdir(path) else rights & _ON_FILES, descriptor)
        kernel.call(_ADD_RULE, *map(ctypes.c_int, (ruleset, _PATH_BENEATH)), ctypes.byref(rule), ctypes.c_uint32(0))
    finally:
        os.close(descriptor)
