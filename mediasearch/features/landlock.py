"""Landlock: what a Linux process may do with files, TCP and signals, given up for good by the process itself.

Called through ctypes. Looked at in December 2026 and not taken: `landlock` (a pre-release since 2025), `py-landlock`
and `landlockpy` (months old, of one author each), and `sandlock` (needs the sixth version of the kernel's interface;
most servers have an older one). https://docs.kernel.org/userspace-api/landlock.html
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
"""Numbers of system calls, the same on every architecture that wheels are made for."""
_ASK_VERSION, _PATH_BENEATH = 1, 1
_PR_SET_NO_NEW_PRIVS = 38

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


@dataclass(frozen=True, slots=True)
class Grant:
    """What may be done with a file, or with a folder and all below it."""

    path: str
    rights: int


class _Ruleset(ctypes.Structure):
    _fields_ = [("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scopes", ctypes.c_uint64)]


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = [("rights", ctypes.c_uint64), ("descriptor", ctypes.c_int32)]


def version() -> int:
    """Return the version of the kernel's interface; 0 where there is none, it is switched off, or not allowed."""
    try:
        return max(0, _call(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_ASK_VERSION)))
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
        ruleset = _call(_CREATE_RULESET, ctypes.byref(rules), ctypes.c_size_t(size), ctypes.c_uint32(0))
        try:
            for grant in grants:
                _add(ruleset, grant, handled)
            no_new_privileges()
            _call(_RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint32(0))
        finally:
            os.close(ruleset)
    except OSError:  # A container may forbid the call.
        return 0
    return known


def no_new_privileges() -> None:
    """Never gain any by running a program, which the kernel asks for before anything else is given up."""
    with suppress(AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_NO_NEW_PRIVS, *map(ctypes.c_ulong, (1, 0, 0, 0)))


def _add(ruleset: int, grant: Grant, handled: int) -> None:
    try:
        descriptor = os.open(grant.path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        rights = grant.rights & handled
        if not os.path.isdir(grant.path):
            rights &= _ON_FILES
        rule = _PathBeneath(rights, descriptor)
        _call(_ADD_RULE, ctypes.c_int(ruleset), ctypes.c_int(_PATH_BENEATH), ctypes.byref(rule), ctypes.c_uint32(0))
    finally:
        os.close(descriptor)


def _call(number: int, *arguments: object) -> int:
    """Make a system call. Raises OSError, also where the system has no such calls."""
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(os, "O_PATH") or not hasattr(libc, "syscall"):
        raise OSError("There is no Landlock here.")
    libc.syscall.restype = ctypes.c_long
    result: int = libc.syscall(ctypes.c_long(number), *arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result
