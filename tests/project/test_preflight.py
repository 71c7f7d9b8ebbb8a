"""What is checked before anything is installed or started."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest

from project import preflight

ROOT = Path(__file__).resolve().parent.parent.parent
Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def taken() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_python__this_one() -> None:
    assert preflight.python_problem() is None


def test_python__too_old() -> None:
    assert "Python 3.11 or newer, and this is 3.9" in preflight.python_problem(version=(3, 9, 2))


@pytest.mark.parametrize("missing", ["venv", "ensurepip"])
def test_python__without_venv(missing: str) -> None:
    problem = preflight.python_problem(version=(3, 11, 2), find=lambda name: None if name == missing else object())

    assert "apt install python3.11-venv" in problem


def test_disk__room_enough(tmp_path: Path) -> None:
    assert preflight.disk_problem(tmp_path, 1) is None


def test_disk__full(tmp_path: Path) -> None:
    problem = preflight.disk_problem(tmp_path / "not" / "yet", 9_000_000_000, usage=lambda path: Usage(0, 0, 3e8))

    assert "has only 0.3 GB free, and this needs 9 GB" in problem


def test_port__free() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    assert preflight.port_problem(port) is None


def test_port__taken(taken: int) -> None:
    assert f"Port {taken} is taken" in preflight.port_problem(taken)


def test_port__none_such() -> None:
    assert "There is no port 70000" in preflight.port_problem(70_000)


def test_port__taken__make_says_one_sentence(taken: int, tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "project.demo", "--port", str(taken)],
        cwd=ROOT,
        env={**os.environ, "MEDIASEARCH_DATA": str(tmp_path / "data")},
        capture_output=True,
        text=True,
        timeout=30,
    )

    assert ended.returncode == 1
    assert ended.stdout == ""
    assert ended.stderr.strip() == preflight.port_problem(taken)


def test_folder__none_such(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "project.demo", str(tmp_path / "nowhere")],
        cwd=ROOT,
        env={**os.environ, "MEDIASEARCH_DATA": str(tmp_path / "data")},
        capture_output=True,
        text=True,
        timeout=30,
    )

    assert (ended.returncode, ended.stdout, ended.stderr) == (1, "", f"There is no folder {tmp_path / 'nowhere'}.\n")
