"""The right to calibrate a generation: a lease by the database's clock, held by one process at a time.

A process that is killed stops renewing its lease, so another may take it a minute later. A renewal must be committed
to be seen by others, so none is made inside the transactions that calibrating scans in.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from django.db import DatabaseError, InterfaceError, router
from django.db.models import F, Q, QuerySet
from django.db.models.functions import Now

from mediasearch.exceptions import CalibrationLost, CalibrationTaken
from mediasearch.indexing import clock
from mediasearch.models import Generation

logger = logging.getLogger(__name__)
RENEW_EVERY = 10.0
"""Seconds between two renewals."""


@dataclass(slots=True)
class Turn:
    """A lease that is ours until another process has taken it."""

    generation: int
    token: uuid.UUID
    renewed_at: float = field(default_factory=time.monotonic)
    """By this process's own steady clock: only for how often it is renewed."""

    def keep(self) -> None:
        """Renew the lease where that is due. Raises CalibrationLost."""
        now = time.monotonic()
        if now - self.renewed_at >= RENEW_EVERY:
            self.write(calibrating_until=Now() + clock.CALIBRATION)
            self.renewed_at = now

    def write(self, **values: Any) -> None:
        """Write to the generation's row while the lease is ours. Raises CalibrationLost."""
        if not _rows(self.generation).filter(calibration_token=self.token).update(**values):
            raise CalibrationLost(
                f"Calibrating generation {self.generation} was given up: another process took over, for this one gave"
                f" no sign of life for {clock.CALIBRATION.total_seconds():.0f} s; or the generation was deleted."
            )


@contextmanager
def taken(generation: Generation) -> Iterator[Turn]:
    """Hold the lease for as long as the `with` lasts. Raises CalibrationTaken where another process holds it."""
    clock.cut_calibrations(router.db_for_write(Generation))
    turn = Turn(generation.pk, uuid.uuid4())
    free = Q(calibration_token=None) | Q(calibrating_until=None) | Q(calibrating_until__lt=Now())
    lease = {"calibrating_until": Now() + clock.CALIBRATION, "calibration_token": turn.token}
    if not _rows(generation.pk).filter(free).update(**lease):
        raise CalibrationTaken(_whose(generation.pk))
    try:
        yield turn
    finally:
        _end(turn)


def _end(turn: Turn) -> None:
    """Give the lease back, where it is still ours."""
    try:
        ours = _rows(turn.generation).filter(calibration_token=turn.token)
        ours.update(calibrating_until=None, calibration_token=None)
    except (DatabaseError, InterfaceError) as error:  # What broke the calibration off counts, and not this.
        logger.warning(
            "The lease of calibrating generation %d could not be given back, and ends by itself: %s",
            turn.generation,
            error,
        )


def _whose(generation: int) -> str:
    """Say since when another process has given no sign of life, and what to do."""
    left = _rows(generation).values_list(F("calibrating_until") - Now(), flat=True).first()
    if left is None:
        return f"Generation {generation} was calibrated by another process, or deleted, at this moment. Look again."
    seconds = max(left.total_seconds(), 0.0)
    quiet = max(clock.CALIBRATION.total_seconds() - seconds, 0.0)
    return (
        f"Another process is calibrating generation {generation}; its last sign of life came {quiet:.0f} s ago. Run"
        f" this again when it is through. If it was killed, it is free again in {seconds:.0f} s."
    )


def _rows(generation: int) -> QuerySet[Generation]:
    return Generation.objects.primary().filter(pk=generation)
