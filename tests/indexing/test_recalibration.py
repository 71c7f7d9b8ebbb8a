from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from django.db import OperationalError

from mediasearch.indexing import calibration, ledger, recalibration, sweeper
from mediasearch.models import Generation
from tests.live import until
from tests.vectors import fill


@pytest.fixture(autouse=True)
def _through() -> Iterator[None]:
    """Leave no calibration running."""
    yield
    until(lambda: not recalibration._turn.locked(), "it is still calibrating")


@pytest.mark.django_db(transaction=True)
def test_start_where_due__measures_the_active_generation(active_generation: Generation) -> None:
    fill(active_generation, 20)
    recalibration.start_where_due()
    until(lambda: Generation.objects.get().calibration, "nothing was measured")
    assert Generation.objects.get().calibration["rows"] == 20


def test_start_where_due__once_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    began, may_end, threads = threading.Semaphore(0), threading.Event(), []

    def calibrate() -> None:
        threads.append(threading.current_thread())
        began.release()
        may_end.wait(10)

    monkeypatch.setattr(calibration, "calibrate_where_due", calibrate)
    for _ in range(3):
        recalibration.start_where_due()
    assert began.acquire(timeout=10)
    assert [thread.daemon for thread in threads] == [True]
    may_end.set()
    until(lambda: not recalibration._turn.locked(), "it did not end")
    recalibration.start_where_due()
    assert began.acquire(timeout=10)
    assert len(threads) == 2


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OperationalError("The server went away."), "could not use the database; it is tried again: The server"),
        (KeyError("A fault of our own."), "Calibrating failed"),
    ],
)
def test_start_where_due__is_tried_again_whatever_went_wrong(
    error: Exception, told: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tried = []

    def fail() -> None:
        tried.append(error)
        raise error

    monkeypatch.setattr(calibration, "calibrate_where_due", fail)
    for count in (1, 2):
        recalibration.start_where_due()
        until(lambda count=count: len(tried) == count and not recalibration._turn.locked(), "it was not tried")
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
