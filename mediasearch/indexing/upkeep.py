"""Rows that are behind are brought up to date, some at a time, while searches and uploads go on.

Behind is what an older version of mediasearch wrote, what a fixture loaded over a row that was
there, and what something beside Django blanked. A row that somebody holds is left for later.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from django.db import connections, router, transaction

from mediasearch.models import Asset, Job, Stage
from mediasearch.querysets import AssetQuerySet

logger = logging.getLogger(__name__)
LOCK = 0x6D656475
"""PostgreSQL's advisory lock: one process at a time is at it."""
AT_ONCE = 200
"""Rows of one transaction, which nobody else can write meanwhile."""


def bring_up_to_date() -> int:
    """Go on until no row is behind, or another process is at it; return how many rows were done."""
    done = 0
    for chore in (_follow_outdated, _owe_blank):
        last = 0
        while ids := _one_at_a_time(chore, last):
            done, last = done + len(ids), ids[-1]
    if done:
        logger.info("%d images brought up to date", done, extra={"event": "upkeep", "images": done})
    return done


def _one_at_a_time(chore: Callable[[AssetQuerySet, int], list[int]], last: int) -> list[int]:
    """Do some of a chore beyond a key, and return the rows; none where another process is at it."""
    using = router.db_for_write(Asset)
    with transaction.atomic(using=using), connections[using].cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [LOCK])
        return chore(Asset.objects.primary(), last) if cursor.fetchone()[0] else []


# Each goes on beyond the last key: from the first on, a large library would be read again for every chunk.


def _follow_outdated(assets: AssetQuerySet, last: int) -> list[int]:
    """Make text vectors, and owe what has another version now; both stay as they were until then."""
    ids = assets.outdated().filter(pk__gt=last).lock(skip_locked=True, limit=AT_ONCE)
    assets.follow(ids, priority=Job.BACKFILL)
    return ids


def _owe_blank(assets: AssetQuerySet, last: int) -> list[int]:
    """Owe once more what rows have lost: what was inspected, and what was read."""
    ids = assets.blank().filter(pk__gt=last).lock(skip_locked=True, limit=AT_ONCE)
    assets.follow(ids, priority=Job.BACKFILL)
    Job.objects.primary().owe(
        assets.among(ids).only("pk"), [Stage.INSPECT, Stage.READ], priority=Job.BACKFILL, force=True
    )
    if ids:
        extra = {"event": "blank", "images": len(ids)}
        logger.warning("%d images had lost what workers wrote, and are indexed again.", len(ids), extra=extra)
    return ids
