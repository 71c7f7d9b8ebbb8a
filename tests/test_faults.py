"""The short form of each experiment of `make faults`: what comes of it, and not how long it takes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.faults.__main__ import EXPERIMENTS

ROOT = Path(__file__).resolve().parent.parent
LONGEST = 400


@pytest.mark.parametrize("name", sorted(EXPERIMENTS))
def test_faults__lose_nothing(name: str) -> None:
    module, *options = EXPERIMENTS[name]
    command = [sys.executable, "-m", f"benchmarks.faults.{module}", *options, "--short"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LONGEST)
    assert ended.returncode == 0, ended.stdout + ended.stderr[-4_000:]
