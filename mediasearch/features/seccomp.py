"""A seccomp filter: the system calls that a Linux process gives up for good, with all that it starts.

Looked at in December 2026 and not taken: `pyseccomp` (its last release is of 2021, and it needs
the system's libseccomp), `mephi42-seccomp` and `seccompy` (months old, of one author each).

Calls fail with an error number, which libraries that only probe can live with. Those that this module does not know
fail as they would on an older kernel. https://docs.kernel.org/userspace-api/seccomp_filter.html
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from errno import EACCES, ENOSYS, EPERM

from mediasearch.features import kernel

_LAST = 462
"""The number of `mseal`, of Linux 6.10. Later calls are refused, and so are those of x32, whose numbers are higher."""
_ALLOW, _FAIL = 0x7FFF0000, 0x00050000
_LOAD, _EQUAL, _GREATER, _AND, _RETURN = 0x20, 0x15, 0x25, 0x54, 0x06
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16
_PACKED = struct.Struct("=HBBI")
_SET_FILTER = 1
_ALL_THREADS, _SPECULATE = 1, 4
"""Flags. A child holds no secret that speculation could tell, and without it older kernels are much slower."""
_THREAD, _NEW_NAMESPACES, _SIBLING = 0x00010000, 0x7E020000, 0x00008000
"""Flags of `clone`."""
_ANY, _NEGATIVE = 0xFFFFFFFF, 0x80000000


_ARCHITECTURES = {"x86_64": (0, 0xC000003E, 317), "aarch64": (1, 0xC00000B7, 277)}
"""The column of the tables below, what the kernel calls it, and the number of the call that installs a filter."""
_Calls = Mapping[str, tuple[int | None, int | None]]

# fmt: off
_NETWORK: _Calls = {
    "socket": (41, 198), "socketpair": (53, 199), "connect": (42, 203), "bind": (49, 200), "listen": (50, 201),
    "accept": (43, 202), "accept4": (288, 242), "sendto": (44, 206), "sendmsg": (46, 211), "sendmmsg": (307, 269),
}
_OTHERS: _Calls = {  # Processes: to trace, to read, to slow down, to signal in roundabout ways, to leave one's group.
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "kcmp": (312, 272),
    "process_madvise": (440, 440), "process_mrelease": (448, 448), "get_robust_list": (274, 100),
    "perf_event_open": (298, 241), "pidfd_open": (434, 434), "pidfd_getfd": (438, 438),
    "pidfd_send_signal": (424, 424), "tkill": (200, 130), "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240), "setpriority": (141, 140), "sched_setscheduler": (144, 119),
    "sched_setparam": (142, 118), "sched_setattr": (314, 274), "ioprio_set": (251, 30), "migrate_pages": (256, 238),
    "move_pages": (279, 239), "setsid": (112, 157), "setpgid": (109, 154),
    "shmget": (29, 194), "shmat": (30, 196), "shmctl": (31, 195), "semget": (64, 190), "semop": (65, 193),
    "semctl": (66, 191), "semtimedop": (220, 192), "msgget": (68, 186), "msgsnd": (69, 189), "msgrcv": (70, 188),
    "msgctl": (71, 187), "mq_open": (240, 180), "mq_unlink": (241, 181),
}
_FILES: _Calls = {  # What Landlock leaves to the permissions of files; programs in memory, which it can't see.
    "chmod": (90, None), "fchmod": (91, 52), "fchmodat": (268, 53), "fchmodat2": (452, 452), "chown": (92, None),
    "fchown": (93, 55), "lchown": (94, None), "fchownat": (260, 54), "setxattr": (188, 5), "lsetxattr": (189, 6),
    "fsetxattr": (190, 7), "removexattr": (197, 14), "lremovexattr": (198, 15), "fremovexattr": (199, 16),
    "utime": (132, None), "utimes": (235, None), "utimensat": (280, 88), "futimesat": (261, None),
    "truncate": (76, 45), "mknod": (133, None), "mknodat": (259, 33), "link": (86, None), "linkat": (265, 37),
    "symlink": (88, None), "symlinkat": (266, 36), "inotify_init": (253, None), "inotify_init1": (294, 26),
    "inotify_add_watch": (254, 27), "fanotify_init": (300, 262), "fanotify_mark": (301, 263),
    "name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265),
    "memfd_create": (319, 279), "memfd_secret": (447, 447), "execveat": (322, 281),
}
_SYSTEM: _Calls = {  # What only administrators may, or what has had more holes than uses.
    "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427), "bpf": (321, 280),
    "userfaultfd": (323, 282), "keyctl": (250, 219), "add_key": (248, 217), "request_key": (249, 218),
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51), "move_mount": (429, 429),
    "open_tree": (428, 428), "fsopen": (430, 430), "fsconfig": (431, 431), "fsmount": (432, 432),
    "fspick": (433, 433), "mount_setattr": (442, 442), "statmount": (457, 457), "listmount": (458, 458),
    "unshare": (272, 97), "setns": (308, 268), "init_module": (175, 105), "finit_module": (313, 273),
    "delete_module": (176, 106), "kexec_load": (246, 104), "kexec_file_load": (320, 294), "reboot": (169, 142),
    "swapon": (167, 224), "swapoff": (168, 225), "sethostname": (170, 161), "setdomainname": (171, 162),
    "acct": (163, 89), "quotactl": (179, 60), "quotactl_fd": (443, 443), "settimeofday": (164, 170),
    "clock_settime": (227, 112), "clock_adjtime": (305, 266), "adjtimex": (159, 171), "iopl": (172, None),
    "ioperm": (173, None), "modify_ldt": (154, None), "syslog": (103, 116), "vhangup": (153, 58),
    "personality": (135, 92), "lookup_dcookie": (212, 18), "nfsservctl": (180, 42), "lsm_set_self_attr": (460, 460),
    "setuid": (105, 146), "setgid": (106, 144), "setreuid": (113, 145), "setregid": (114, 143),
    "setresuid": (117, 147), "setresgid": (119, 149), "setgroups": (116, 159), "setfsuid": (122, 151),
    "setfsgid": (123, 152), "capset": (126, 91),
}
_PROGRAMS: _Calls = {"fork": (57, None), "vfork": (58, None), "execve": (59, 221)}
_PARTLY: _Calls = {
    "clone": (56, 220), "clone3": (435, 435), "kill": (62, 129), "tgkill": (234, 131), "prlimit64": (302, 261),
    "sched_setaffinity": (203, 122), "prctl": (157, 167), "fcntl": (72, 25), "ioctl": (16, 29),
}
# fmt: on


_Instruction = tuple[int, int, int, int]
"""A code, how many instructions to skip where it holds and where it does not, and a number."""
_Rule = tuple[str, list[_Instruction]]
"""A call, and what decides about it."""


def install(*, programs: bool, signals: bool) -> bool:
    """Give up what opening files does not need, in all threads and for good; return whether the kernel does that.

    With `programs`, processes may be started: Landlock bounds which, and the warden how many. With `signals`, signals
    may be sent: Landlock bounds to whom.
    """
    machine = os.uname().machine
    if machine not in _ARCHITECTURES or struct.calcsize("P") != 8:
        return False
    column, architecture, number = _ARCHITECTURES[machine]
    code = _assembled(_rules(programs, signals), column, architecture)
    instructions = ctypes.create_string_buffer(code)
    program = _Program(len(code) // _PACKED.size, ctypes.addressof(instructions))
    for flags in (_ALL_THREADS | _SPECULATE, _ALL_THREADS):  # Kernels before 4.17 don't know the second.
        with suppress(OSError):
            kernel.control(kernel.NO_NEW_PRIVILEGES, 1)
            return kernel.call(number, *map(ctypes.c_uint, (_SET_FILTER, flags)), ctypes.byref(program)) == 0
    return False


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p)]


def _rules(programs: bool, signals: bool) -> Iterator[_Rule]:
    itself = os.getpid()
    yield from (_refused(call, EACCES) for call in _NETWORK)
    yield from (_refused(call) for calls in (_OTHERS, _FILES, _SYSTEM) for call in calls)
    yield _refused("clone3", ENOSYS)  # Its flags can't be seen; the C library then uses `clone`.
    if programs:
        yield _only("clone", 0, _NEW_NAMESPACES | _SIBLING, (0,))
    else:
        yield from map(_refused, _PROGRAMS)
        yield _only("clone", 0, _NEW_NAMESPACES | _SIBLING | _THREAD, (_THREAD,))
    if signals:
        yield _only("kill", 0, _NEGATIVE, (0,))
    else:
        yield _only("kill", 0, _ANY, (itself,))
        yield _only("tgkill", 0, _ANY, (itself,))
    yield _only("prlimit64", 0, _ANY, (0, itself))
    yield _only("sched_setaffinity", 0, _ANY, (0, itself))
    yield _all_but("prctl", 0, (1, 35, 0x59616D61))  # PDEATHSIG, MM, PTRACER
    yield _all_but("fcntl", 1, (8, 10, 15, 1026))  # SETOWN, SETSIG, SETOWN_EX, NOTIFY
    yield _all_but("ioctl", 1, (0x5412, 0x541C, 0x8901, 0x8902))  # TIOCSTI, TIOCLINUX, FIOSETOWN, SIOCSPGRP


def _refused(call: str, error: int = EPERM) -> _Rule:
    return call, [(_RETURN, 0, 0, _FAIL | error)]


def _only(call: str, argument: int, mask: int, values: tuple[int, ...]) -> _Rule:
    """Allow a call where an argument, masked, has one of these values."""
    return call, _by_argument(argument, mask, values, match=_ALLOW, other=_FAIL | EPERM)


def _all_but(call: str, argument: int, values: tuple[int, ...]) -> _Rule:
    return call, _by_argument(argument, _ANY, values, match=_FAIL | EPERM, other=_ALLOW)


def _by_argument(argument: int, mask: int, values: tuple[int, ...], *, match: int, other: int) -> list[_Instruction]:
    """Decide by the lower half of an argument, which is all that the kernel looks at in these calls."""
    return [
        (_LOAD, 0, 0, _FIRST_ARGUMENT + 8 * argument),
        (_AND, 0, 0, mask),
        *((_EQUAL, len(values) - index, 0, value) for index, value in enumerate(values)),
        (_RETURN, 0, 0, other),
        (_RETURN, 0, 0, match),
    ]


def _assembled(rules: Iterable[_Rule], column: int, architecture: int) -> bytes:
    """Return the program for the kernel."""
    numbers = {**_NETWORK, **_OTHERS, **_FILES, **_SYSTEM, **_PROGRAMS, **_PARTLY}
    program = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _FAIL | ENOSYS),
        (_LOAD, 0, 0, _NUMBER),
        (_GREATER, 0, 1, _LAST),
        (_RETURN, 0, 0, _FAIL | ENOSYS),
    ]
    for call, body in rules:
        number = numbers[call][column]
        if number is not None:
            program += [(_EQUAL, 0, len(body), number), *body]
    program.append((_RETURN, 0, 0, _ALLOW))
    return b"".join(_PACKED.pack(*instruction) for instruction in program)
