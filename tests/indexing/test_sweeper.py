from __future__ import annotations

import threading
from typing import Any

import pytest
from django.db import OperationalError

from mediasearch.indexing import ledger, sweeper


@pytest.mark.parametrize("error", [OperationalError("The server went away."), KeyError("A fault of our own.")])
def test_sweeper__outlives_whatever_goes_wrong(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    swept, twice = [], threading.Event()

    def sweep(**options: Any) -> list[str]:
        swept.append(options)
        if len(swept) == 1:
            raise error
        twice.set()
        return []

    monkeypatch.setattr(sweeper, "EVERY", 0.01)
    monkeypatch.setattr(ledger, "sweep", sweep)
    monkeypatch.setattr(sweeper.upkeep, "bring_up_to_date", lambda: 0)
    thread = sweeper.Sweeper()
    thread.start()
    try:
        assert twice.wait(10)
        assert swept[:2] == [{"thoroughly": True}] * 2  # The thorough one was not done yet.
    finally:
        thread.stop()
        thread.join()
