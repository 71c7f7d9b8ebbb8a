from __future__ import annotations

import sys
import time

import pytest

from mediasearch.management import processes
from mediasearch.management.processes import Kept


@pytest.mark.parametrize(
    ("program", "wait"), [("raise SystemExit(1)", 0.4), ("import os; os.kill(os.getpid(), 9)", 0.1)]
)
def test_kept__waits_longer_where_it_ends_by_itself_but_not_where_it_is_killed(
    program: str, wait: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "_WAIT", 0.1)
    kept = Kept([sys.executable, "-c", program])
    for _ in range(2):
        while kept.process is None:
            kept.look()
            time.sleep(0.01)
        kept.process.wait()
        kept.look()
    assert kept._wait == wait
