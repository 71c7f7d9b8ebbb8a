"""How long the ledger waits for what, and what becomes of those times when the database's clock is set back.

A lease, a wait or a pause that was written an hour ahead of today's clock would last an hour. None is ever longer than
the constants here say, and so what lies further ahead is cut. A clock that is set forward needs nothing: leases end
early, and the token refuses what their holders still write.
"""

from __future__ import annotations

import logging
import random
from datetime import timedelta

from django.db import connections
from django.db.models import F
from django.db.models.functions import Least, Now

from mediasearch import conf
from mediasearch.models import Generation, Job, Pause, Stage

logger = logging.getLogger(__name__)
FIRST_DELAY, LONGEST_DELAY, JITTER = 10.0, 600.0, 0.2
REST = timedelta(seconds=15)
"""How long a stage pauses before something that was down is tried again."""
CALIBRATION = timedelta(seconds=60)
"""How long the lease of a process that calibrates holds without a renewal."""
_SLACK = 1.0
"""Seconds; what lies so little ahead was written while we looked."""
_CUT_AT_ONCE = 5_000


def delay(attempts: int) -> float:
    """Return after how many seconds a job is tried again that was tried so often: longer each time, and by chance."""
    return min(FIRST_DELAY * 2.0 ** (attempts - 1), LONGEST_DELAY) * random.uniform(1 - JITTER, 1 + JITTER)


def mend(using: str) -> set[str]:
    """Cut what lies further ahead than it can; return the stages that have more to do by it."""
    due, pauses = _due_times(using), _pauses(using)
    leases = _leases(using) + cut_calibrations(using)
    if due or leases or pauses:
        extra = {"event": "clock", "waits": sum(due.values()), "leases": leases, "pauses": pauses}
        logger.warning(
            "The database's clock was set back: %(waits)d waits, %(leases)d leases, %(pauses)d pauses cut",
            extra,
            extra=extra,
        )
    return set(due)


def cut_calibrations(using: str) -> int:
    """Cut the leases of processes that calibrate; return how many lay too far ahead.

    Whoever takes such a lease calls this first, as a site without workers sweeps nothing.
    """
    longest = Now() + CALIBRATION
    ahead = Generation.objects.using(using).filter(calibrating_until__gt=longest + timedelta(seconds=_SLACK))
    return ahead.update(calibrating_until=longest)


def _due_times(using: str) -> dict[str, int]:
    with connections[using].cursor() as cursor:
        # Each stage and priority is one range of the partial index; the first condition on the time bounds it.
        cursor.execute(
            f"""
            WITH cut AS (
                UPDATE {Job._meta.db_table} SET due_at = statement_timestamp() WHERE id = ANY (ARRAY(
                    SELECT id FROM {Job._meta.db_table}
                    WHERE state = 'pending' AND stage = ANY(%s) AND priority = ANY(%s)
                      AND due_at > statement_timestamp() + interval '{_SLACK} seconds'
                      AND due_at > statement_timestamp() + interval '1 second' * ({_SLACK} + CASE WHEN attempts = 0
                          THEN 0 ELSE least({FIRST_DELAY} * 2.0 ^ (attempts - 1), {LONGEST_DELAY}) * {1 + JITTER} END)
                    LIMIT {_CUT_AT_ONCE} FOR UPDATE SKIP LOCKED))
                RETURNING stage
            )
            SELECT stage, count(*) FROM cut GROUP BY stage
            """,
            [[str(stage) for stage in Stage], [Job.UPLOAD, Job.BACKFILL]],
        )
        return dict(cursor.fetchall())


def _leases(using: str) -> int:
    longest = Now() + timedelta(seconds=conf.settings().lease_seconds)
    ahead = Job.objects.using(using).filter(
        state=Job.State.RUNNING, lease_until__gt=longest + timedelta(seconds=_SLACK)
    )
    ids = list(ahead.select_for_update(skip_locked=True).values_list("pk", flat=True)[:_CUT_AT_ONCE])
    return Job.objects.using(using).filter(pk__in=ids).update(lease_until=longest) if ids else 0


def _pauses(using: str) -> int:
    ahead = Pause.objects.using(using).filter(until__gt=Now() + REST + timedelta(seconds=_SLACK))
    return ahead.update(until=Now() + REST, since=Least(F("since"), Now()))
