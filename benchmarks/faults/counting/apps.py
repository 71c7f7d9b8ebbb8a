"""Each doorbell that any process rings is one byte in a file."""

from __future__ import annotations

import os
from typing import Any

from celery.signals import before_task_publish
from django.apps import AppConfig


class CountingConfig(AppConfig):
    name = "benchmarks.faults.counting"
    label = "faults_counting"

    def ready(self) -> None:
        from mediasearch.indexing import doorbell

        before_task_publish.connect(_count, sender=doorbell.DRAIN, weak=False)
        notify = doorbell._notify

        def counted(*args: Any) -> None:
            _count()
            notify(*args)

        doorbell._notify = counted


def _count(**_: Any) -> None:
    place = os.open(os.environ["FAULTS_DOORBELLS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(place, b".")
    finally:
        os.close(place)
