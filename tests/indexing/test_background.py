from __future__ import annotations

import threading

import pytest
from django.db import OperationalError

from mediasearch.indexing import calibration, ledger, sweeper
from mediasearch.indexing.background import Background
from mediasearch.models import Generation
from tests.live import until
from tests.vectors import fill


@pytest.mark.django_db(transaction=True)
def test_start__calibrates_the_active_generation(active_generation: Generation) -> None:
    fill(active_generation, 20)
    sweeper.CALIBRATION.start()
    until(lambda: Generation.objects.get().calibration, "nothing was measured")
    assert Generation.objects.get().calibration["rows"] == 20
    until(lambda: not sweeper.CALIBRATION.is_at_it, "it is still calibrating")


def test_start__once_at_a_time() -> None:
    began, may_end, threads = threading.Semaphore(0), threading.Event(), []

    def work() -> None:
        threads.append(threading.current_thread())
        began.release()
        may_end.wait(10)

    background = Background("work", work)
    for _ in range(3):
        background.start()
    assert began.acquire(timeout=10)
    assert [thread.daemon for thread in threads] == [True]
    may_end.set()
    until(lambda: not background.is_at_it, "it did not end")
    background.start()
    assert began.acquire(timeout=10)
    assert len(threads) == 2


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OperationalError("The server went away."), "could not use the database; it is tried again: The server"),
        (KeyError("A fault of our own."), "work failed"),
    ],
)
def test_start__is_tried_again_whatever_went_wrong(
    error: Exception, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    tried = []

    def fail() -> None:
        tried.append(error)
        raise error

    background = Background("work", fail)
    for count in (1, 2):
        background.start()
        until(lambda count=count: len(tried) == count and not background.is_at_it, "it was not tried")
    assert told in caplog.text


def test_sweeper__does_not_wait_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    swept, twice, may_end = [], threading.Event(), threading.Event()

    def sweep(**options: bool) -> list[str]:
        swept.append(options)
        if len(swept) == 2:
            twice.set()
        return []

    monkeypatch.setattr(sweeper, "EVERY", 0.01)
    monkeypatch.setattr(ledger, "sweep", sweep)
    monkeypatch.setattr(sweeper.pruning, "prune_jobs", lambda at_once: None)
    monkeypatch.setattr(sweeper.upkeep, "bring_up_to_date", lambda: may_end.wait(10))
    monkeypatch.setattr(calibration, "calibrate_where_due", lambda: may_end.wait(10))
    thread = sweeper.Sweeper()
    thread.start()
    try:
        assert twice.wait(10)
        assert not may_end.is_set()
    finally:
        may_end.set()
        thread.stop()
        thread.join()
        until(lambda: not (sweeper.CALIBRATION.is_at_it or sweeper.UPKEEP.is_at_it), "they did not end")
