"""Each doorbell that any process rings is one byte in a file, and each event that it logs a line in another."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from celery.signals import before_task_publish
from django.apps import AppConfig


class CountingConfig(AppConfig):
    name = "benchmarks.faults.counting"
    label = "faults_counting"

    def ready(self) -> None:
        from benchmarks.faults.counting import notes, versions
        from mediasearch.indexing import doorbell

        logging.getLogger("mediasearch").addHandler(notes.Handler())
        if ahead := os.environ.get("FAULTS_AHEAD"):
            _set_clock(timedelta(seconds=int(ahead)))
        if seconds := os.environ.get("FAULTS_CALIBRATION"):
            _shorten(float(seconds))
        versions.raise_to(os.environ.get("FAULTS_STAGE_VERSIONS", ""), os.environ.get("FAULTS_FOLDING", ""))
        before_task_publish.connect(_count, sender=doorbell.DRAIN, weak=False)
        notify = doorbell._notify

        def counted(queues: Iterable[str]) -> None:
            if wanted := set(queues):
                _count()
                notify(wanted)

        doorbell._notify = counted


def _shorten(seconds: float) -> None:
    """Have leases of calibrations last so long, be renewed as often as otherwise, and be looked for as often."""
    from mediasearch.indexing import clock, sweeper, turns

    turns.RENEW_EVERY *= seconds / clock.CALIBRATION.total_seconds()
    clock.CALIBRATION = timedelta(seconds=seconds)
    sweeper.THOROUGHLY_EVERY = seconds


def _set_clock(ahead: timedelta) -> None:
    """Have this process, and those that it forks, take another time of day for the right one."""
    import time_machine

    time_machine.travel(datetime.now(UTC) + ahead, tick=True).start()


def _count(**_: Any) -> None:
    place = os.open(os.environ["FAULTS_DOORBELLS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(place, b".")
    finally:
        os.close(place)
