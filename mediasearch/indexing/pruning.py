"""What is deleted in time: jobs that are done, and generations that searches have long left."""

from __future__ import annotations

from datetime import timedelta

from django.db import connections, router, transaction
from django.db.models import QuerySet
from django.db.models.functions import Now

from mediasearch import conf
from mediasearch.models import Asset, Generation, Job
from mediasearch.querysets import SETTLED_KEY

GRACE = timedelta(minutes=10)
"""For so long after its retirement a generation is kept in any case: a search that began before may still use it."""
_CHUNK = 1_000


def done_jobs() -> QuerySet[Job]:
    """Jobs that are done, or had nothing to do, for longer than they are kept. Failed ones wait for a person."""
    kept = timedelta(days=conf.settings().keep_done_days)
    over = Job.objects.primary().filter(state__in=[Job.State.DONE, Job.State.SKIPPED])
    return over.filter(finished_at__lt=Now() - kept)


def prune_jobs(limit: int) -> int:
    """Delete about `limit` old jobs, and have their assets remember what they had done; return how many were deleted.

    To be called outside a transaction, so that uploads wait for no more than a part of it.
    """
    deleted = 0
    while deleted < limit and (some := _prune_some(min(_CHUNK, limit - deleted))):
        deleted += some
    return deleted


def _prune_some(size: int) -> int:
    """Delete the old jobs of the assets that the oldest of them belong to, in one transaction."""
    with transaction.atomic(using=_database()), connections[_database()].cursor() as cursor:
        chosen = set(done_jobs().order_by("finished_at").values_list("asset", flat=True)[:size])
        # Assets before jobs, as everybody locks them; whatever somebody is at has its turn next time.
        assets = Asset.objects.primary().filter(pk__in=chosen).order_by("pk")
        free = list(assets.select_for_update(skip_locked=True, no_key=True).values_list("pk", flat=True))
        old = done_jobs().filter(asset__in=free).order_by("pk").select_for_update(skip_locked=True)
        ids = list(old.values_list("pk", flat=True))
        cursor.execute(
            f"""
            WITH pruned AS (
                DELETE FROM {Job._meta.db_table} WHERE id = ANY (%s)
                RETURNING asset_id, {SETTLED_KEY} AS key, input_key
            )
            UPDATE {Asset._meta.db_table} AS asset
            -- What is remembered of generations that are gone is forgotten, since the row is written anyway.
            SET settled = made || (SELECT coalesce(jsonb_object_agg(key, value), '{{}}') FROM jsonb_each(settled)
                                   WHERE NOT made ? key AND (key !~ ':' OR split_part(key, ':', 2)::bigint
                                                             IN (SELECT id FROM {Generation._meta.db_table})))
            FROM (SELECT asset_id, jsonb_object_agg(key, input_key) AS made FROM pruned GROUP BY asset_id) AS new
            WHERE asset.id = new.asset_id
            """,
            [ids],
        )
    return len(ids)


def outdated_generations(keep: int, days: float) -> list[Generation]:
    """Retired generations except the `keep` last ones, and those retired in the last so many days.

    One whose deletion was begun is always among them.
    """
    retired = Generation.objects.primary().filter(state=Generation.State.RETIRED)
    kept = list(retired.filter(retired_at__isnull=False).order_by("-retired_at", "-pk").values_list("pk", flat=True))
    long_ago = Now() - max(GRACE, timedelta(days=days))
    gone = retired.filter(retired_at__lt=long_ago).exclude(pk__in=kept[:keep])
    return sorted([*gone, *retired.filter(retired_at__isnull=True)], key=lambda generation: generation.pk)


def _database() -> str:
    return router.db_for_write(Job)
