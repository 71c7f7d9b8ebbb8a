"""A check for django-health-check 4: whether indexing is well.

path("health/", HealthCheckView.as_view(checks=["mediasearch.contrib.health.Indexing"]))
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.db import DatabaseError, connections, router
from health_check.base import HealthCheck
from health_check.exceptions import ServiceUnavailable

from mediasearch.indexing.figures import ALARMS, Status
from mediasearch.indexing.status import status
from mediasearch.models import Job

_DEFAULT = ("silent", "paused", "no-generation")


@dataclass
class Indexing(HealthCheck):  # type: ignore[misc]
    """Unavailable while there is an alarm of the kinds named; one bad file (`failed`) is no reason by default.

    It answers with sentences that a public page may show: no file names, and no reasons of pauses.
    """

    alarms: Sequence[str] = _DEFAULT

    def __post_init__(self) -> None:
        if unknown := set(self.alarms) - set(ALARMS):
            raise ValueError(f"There is no alarm {', '.join(sorted(unknown))}; there are {', '.join(ALARMS)}.")

    def run(self) -> None:
        told = self._ask()
        if sentences := [alarm.sentence for alarm in told.alarms if alarm.kind in self.alarms]:
            raise ServiceUnavailable(" ".join(sentences))

    @staticmethod
    def _ask() -> Status:
        try:
            # It runs in a thread that may end at once, and must not leave a connection behind.
            with connections[router.db_for_write(Job)].temporary_connection():
                return status()
        except DatabaseError as error:
            raise ServiceUnavailable("The database could not be asked.") from error
