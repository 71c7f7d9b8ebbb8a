"""The trusted half of a child."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from mediasearch.features import warden
from tests.live import until

SPLIT = """
import os, signal, subprocess, sys, threading, time
from mediasearch.features import warden
warden.stand_guard(os.getppid(), sys.argv[1])
print(os.getpid(), flush=True)
"""


def split(folder: Path, rest: str) -> subprocess.Popen[str]:
    """Start a child whose half that opens files does the rest."""
    folder.mkdir()
    command = [sys.executable, "-c", SPLIT + rest, str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)


@pytest.mark.parametrize(
    ("rest", "code"),
    [
        ("os._exit(0)", 0),
        ("os._exit(3)", 3),
        ("os.kill(os.getpid(), signal.SIGSEGV)", -signal.SIGSEGV),
        ("os.kill(os.getpid(), signal.SIGXCPU)", -signal.SIGXCPU),
    ],
)
def test_warden__ends_as_the_other_half_did(tmp_path: Path, rest: str, code: int) -> None:
    with split(tmp_path / "own", rest) as child:
        assert child.wait(20) == code
    assert not (tmp_path / "own").exists()


def test_warden__told_to_end_it_ends_all(tmp_path: Path) -> None:
    with split(tmp_path / "own", "subprocess.run(['sleep', '602'])") as child:
        assert child.stdout
        opener = psutil.Process(int(child.stdout.readline()))
        until(opener.children, "nothing was started")
        started = opener.children()
        child.terminate()
        child.wait(5)
        assert not any(process.is_running() for process in [opener, *started])
    assert not (tmp_path / "own").exists()


def test_warden__killed_it_takes_the_other_half_along(tmp_path: Path) -> None:
    if sys.platform != "linux":
        pytest.skip("only Linux sees to that")
    with split(tmp_path / "own", "time.sleep(600)") as child:
        assert child.stdout
        opener = psutil.Process(int(child.stdout.readline()))
        child.kill()
        child.wait(5)
        until(lambda: not opener.is_running() or opener.status() == psutil.STATUS_ZOMBIE, "it stays", 2.0)


@pytest.mark.parametrize(
    "rest",
    [
        "[subprocess.Popen(['sleep', '603']) for _ in range(300)]",
        "while not os.fork(): pass",
        "[threading.Thread(target=time.sleep, args=[600], daemon=True).start() for _ in range(300)]; time.sleep(600)",
    ],
    ids=["processes", "a chain", "threads"],
)
def test_warden__lets_nothing_multiply(tmp_path: Path, rest: str) -> None:
    if not Path("/proc/self/task").exists():
        pytest.skip("only Linux tells how many there are")
    started = time.monotonic()
    with split(tmp_path / "own", f"{rest}\ntime.sleep(600)") as child:
        assert child.wait(30) == -signal.SIGKILL
    assert time.monotonic() - started < 30
    assert not (tmp_path / "own").exists()


def test_tasks__counts_threads_at_any_depth() -> None:
    if not Path("/proc/self/task").exists():
        pytest.skip("only Linux tells how many there are")
    before = warden.tasks(os.getpid())
    with subprocess.Popen(["sh", "-c", "sleep 5; true"]) as shell:
        until(lambda: warden.tasks(os.getpid()) == before + 2, "they are not counted", 3.0)
        for process in psutil.Process(shell.pid).children():
            process.kill()
