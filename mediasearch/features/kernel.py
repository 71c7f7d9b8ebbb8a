"""Calls of the Linux kernel that Python has no function for; elsewhere they raise OSError."""

from __future__ import annotations

import ctypes
import os
import sys

NO_NEW_PRIVILEGES, DEATH_SIGNAL, SUBREAPER = 38, 1, 36
"""Options of `control`."""
_libc = ctypes.CDLL(None, use_errno=True)
_LINUX = sys.platform == "linux"
if _LINUX:
    _libc.syscall.restype = ctypes.c_long


def call(number: int, *arguments: object) -> int:
    """Make a system call and return its result; the arguments are those of ctypes. Raises OSError."""
    return _checked(_libc.syscall(ctypes.c_long(number), *arguments) if _LINUX else -1)


def control(option: int, value: int) -> None:
    """Set something about this process by prctl(2). Raises OSError."""
    _checked(_libc.prctl(option, *map(ctypes.c_ulong, (value, 0, 0, 0))) if _LINUX else -1)


def datagram_socket() -> int:
    """Return the descriptor of a UDP socket; Python's own module would take longer to load. Raises OSError."""
    return _checked(_libc.socket(2, 2, 0))


def keep_capabilities(kept: int) -> None:
    """Drop all but those of the first 32 capabilities, such as root's to raise limits again. Raises OSError."""
    if not _LINUX:
        return
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    sets = (ctypes.c_uint32 * 6)()  # Effective, permitted, inheritable; twice, for 64 of them.
    _checked(_libc.capget(header, sets))
    _checked(_libc.capset(header, (ctypes.c_uint32 * 6)(sets[0] & kept, sets[1] & kept, 0, 0, 0, 0)))


def _checked(result: int) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result
