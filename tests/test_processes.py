from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable

import pytest

from mediasearch.management import processes
from mediasearch.management.processes import Kept


def ends_by_itself() -> None:
    sys.exit(1)


def is_killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")  # What keeps processes has no threads.
@pytest.mark.parametrize(("task", "longer"), [(ends_by_itself, True), (is_killed, False)])
def test_kept__waits_longer_where_it_ends_by_itself_and_not_at_all_where_it_is_killed(
    task: Callable[[], None], longer: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "_WAIT", 0.1)
    kept = Kept(task)
    waits = []
    for _ in range(3):
        ended = time.monotonic()
        while kept.process is None:
            kept.look()
            time.sleep(0.01)
        waits.append(time.monotonic() - ended)
        kept.process.join()
        kept.look()
    assert (waits[2] >= 0.4) == longer
    if kept.process:
        kept.process.join()
