"""The filter, each time in a process of its own: nobody gets rid of it again."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mediasearch.features import seccomp

HEADERS = {
    0: Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    1: Path("/usr/include/asm-generic/unistd.h"),
}
CODE = """
import ctypes, json, os, socket, subprocess, sys, threading
from mediasearch.features import seccomp
def tries(attempt):
    try:
        attempt()
    except OSError as error:
        return type(error).__name__
    return "done"
def forks():
    pid = os.fork()
    if not pid:
        os._exit(0)
    os.waitpid(pid, 0)
def threads():
    thread = threading.Thread(target=seen.append, args=[1])
    thread.start()
    thread.join()
def numbered(number):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(number) < 0:
        raise OSError(ctypes.get_errno(), "refused")
seen = []
sleeper = subprocess.Popen(["sleep", "5"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
installed = seccomp.install(**json.loads(sys.argv[1]))
print(json.dumps({
    "installed": installed,
    "connects": tries(socket.socket),
    "forks": tries(forks),
    "starts": tries(lambda: subprocess.run(["true"])),
    "threads": tries(threads) if seen == [] else "",
    "kills": tries(sleeper.kill),
    "kills all": tries(lambda: os.kill(-1, 0)),
    "itself": tries(lambda: os.kill(os.getpid(), 0)),
    "namespaces": tries(lambda: numbered(272)),
    "x32": tries(lambda: numbered(0x40000000 | 39)),
    "unheard of": tries(lambda: numbered(999)),
}), flush=True)
os._exit(0)
"""


def filtered(**options: bool) -> dict[str, Any]:
    ended = subprocess.run(
        [sys.executable, "-c", CODE, json.dumps(options)], capture_output=True, text=True, timeout=60
    )
    result: dict[str, Any] = json.loads(ended.stdout)
    if not result["installed"]:
        pytest.skip("this kernel has no seccomp filters, or forbids them")
    return result


ALWAYS_REFUSED = ("connects", "kills all", "namespaces", "x32", "unheard of")


def test_install__for_what_opens_files() -> None:
    result = filtered(programs=False, signals=False)
    assert {result[name] for name in (*ALWAYS_REFUSED, "forks", "starts", "kills")} <= {"PermissionError", "OSError"}
    assert (result["threads"], result["itself"]) == ("done", "done")


def test_install__for_a_reader_that_starts_its_engine() -> None:
    result = filtered(programs=True, signals=True)
    assert {result[name] for name in ALWAYS_REFUSED} <= {"PermissionError", "OSError"}
    assert {result[name] for name in ("forks", "starts", "kills", "threads", "itself")} == {"done"}


def test_install__for_a_reader_where_landlock_bounds_no_signals() -> None:
    result = filtered(programs=True, signals=False)
    assert (result["starts"], result["kills"], result["itself"]) == ("done", "PermissionError", "done")


@pytest.mark.parametrize(("column", "header"), HEADERS.items(), ids=["x86_64", "aarch64"])
def test_numbers__are_those_of_the_kernel(column: int, header: Path) -> None:
    if not header.exists():
        pytest.skip("the kernel's headers are not installed")
    text = header.read_text()
    numbers = {name: int(number) for name, number in re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", text)}
    tables = (seccomp._NETWORK, seccomp._OTHERS, seccomp._FILES, seccomp._SYSTEM, seccomp._PROGRAMS, seccomp._PARTLY)
    calls = {name: pair[column] for table in tables for name, pair in table.items()}
    assert len(calls) == sum(map(len, tables))
    wrong = {name: number for name, number in calls.items() if name in numbers and numbers[name] != number}
    assert wrong == {}
    assert [name for name, number in calls.items() if number is None and name in numbers] == []
    assert len(calls.keys() & numbers.keys()) > 100
