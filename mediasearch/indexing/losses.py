"""What lost workers held is taken back: at once where this machine saw the end of one, else when its lease is over."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Collection
from datetime import timedelta

from django.db import connections, router
from django.db.models import QuerySet
from django.db.models.functions import Now

from mediasearch import conf
from mediasearch.indexing import clock
from mediasearch.indexing.owners import Ended
from mediasearch.models import Job, Tally

logger = logging.getLogger(__name__)
GRACE = timedelta(seconds=15)
"""How long after the database server's start leases are not ended: who held them may still have results to write."""
_AT_ONCE = 500


def take_back(ended: list[Ended]) -> set[str]:
    """Take back what these processes held, and whatever has no lease any more; return the stages.

    A process is taken off the list where something that it held is locked just now: it is to be asked about again.
    """
    running = Job.objects.primary().filter(state=Job.State.RUNNING)
    stages: set[str] = set()
    for one in list(ended):
        held = running.filter(token__range=(one.first, one.last))
        stages |= _lose(held, one.computed, at_once=True)
        if held.exists():
            ended.remove(one)
    late = running.filter(lease_until__lt=Now())
    if late.exists() and not _just_started():
        stages |= _lose(late)
    return stages


def _lose(held: QuerySet[Job], computed: Collection[uuid.UUID] = (), *, at_once: bool = False) -> set[str]:
    """Give jobs back for another claim, or up for good; return their stages.

    Where it is known what was in the model, that alone is suspect, and what was lost before. What was alone when it was
    lost has most likely done it: taken back at once, it waits, lest it take one worker after the other.
    """
    jobs = list(held.select_for_update(skip_locked=True)[:_AT_ONCE])
    spent = {job.pk for job in jobs if job.attempts >= conf.settings().max_claims}
    blamed = {job.pk for job in jobs if not computed or job.token in computed or job.attempts > 1}
    rows = Job.objects.primary().filter(pk__in=[job.pk for job in jobs])
    rows.update(token=None, lease_until=None, error="The worker was lost while it held this job.")
    rows.filter(pk__in=spent).update(
        state=Job.State.FAILED, finished_at=Now(), error="The worker was lost each time while it held this job."
    )
    rows.exclude(pk__in=spent).update(state=Job.State.PENDING, due_at=Now())
    rows.filter(pk__in=blamed - spent).update(suspect=True)
    for job in jobs:
        if at_once and job.suspect and job.pk not in spent:
            rows.filter(pk=job.pk).update(due_at=Now() + timedelta(seconds=clock.delay(job.attempts)))
    for stage in sorted({job.stage for job in jobs}):
        its = {job.pk for job in jobs if job.stage == stage}
        outcomes = {"lost": len(its), "failed": len(its & spent)}
        extra = {"event": "lost", "stage": stage, **outcomes}
        logger.warning(
            "%(stage)s: %(lost)d jobs of a lost worker taken back, %(failed)d of them given up", extra, extra=extra
        )
        Tally.objects.primary().count_up(stage, outcomes)
    return {job.stage for job in jobs}


def _just_started() -> bool:
    with connections[_database()].cursor() as cursor:
        # A start that lies ahead is one before the clock was set back.
        cursor.execute(
            "SELECT extract(epoch FROM clock_timestamp() - pg_postmaster_start_time()) BETWEEN 0 AND %s",
            [GRACE.total_seconds()],
        )
        return bool(cursor.fetchone()[0])


def _database() -> str:
    return router.db_for_write(Job)
