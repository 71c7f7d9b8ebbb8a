"""Jobs: how they come to be owed, and what is due."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, TypeAlias

from django.db import connections, transaction
from django.db.models import Count, Q
from django.db.models.functions import Now
from django.dispatch import Signal

from mediasearch.derivation import Inputs
from mediasearch.querysets.base import StoredQuerySet

if TYPE_CHECKING:
    from mediasearch.models import Asset, Generation, Job  # noqa: F401

Owed: TypeAlias = tuple[int | None, str, int | None, str]
"""Asset, stage, generation and input key of a job."""
_CHUNK = 1_000
jobs_owed = Signal()
"""Sent, in the transaction, where jobs became due: somebody should be told when it commits."""


class JobQuerySet(StoredQuerySet["Job"]):
    """Jobs: what is owed, due and done."""

    def owe(
        self,
        assets: Iterable[Asset],
        stages: Collection[str] | None = None,
        *,
        generations: Sequence[Generation] | None = None,
        priority: int | None = None,
        force: bool = False,
    ) -> int:
        """Write down what is owed to assets as they are stored; return how many jobs became due by it.

        A job whose input is the same as last time stays as it is, unless `force`: then it is computed afresh, even
        where another asset has the same file. Runs in the caller's transaction, which holds the assets' locks where
        they were there before it. Sends `jobs_owed` where a job became due.
        """
        from mediasearch.models import Asset

        rows = Asset.objects.using(self.db).inputs([asset.pk for asset in assets])
        return self.owe_inputs(rows, stages, generations=generations, priority=priority, force=force)

    def owe_inputs(
        self,
        rows: Sequence[Inputs],
        stages: Collection[str] | None = None,
        *,
        generations: Sequence[Generation] | None = None,
        priority: int | None = None,
        force: bool = False,
    ) -> int:
        """The same for assets whose rows were just read, in the order of their keys, which all writers keep."""
        from mediasearch.models import EMBEDS, Generation, Job, Stage

        wanted = owed_stages() if stages is None else [stage for stage in Stage if stage in stages]
        living = Generation.objects.using(self.db).hold_living() if generations is None else generations
        groups: tuple[list[Owed], list[Owed]] = ([], [])
        for row in rows:
            for stage in wanted:
                key = row.key(stage)
                targets = [generation.pk for generation in living] if stage in EMBEDS else [None]
                groups[stage in EMBEDS].extend((row.pk, str(stage), target, key) for target in targets)
        chosen = Job.UPLOAD if priority is None else priority
        owed = sum(
            _upsert(self.db, group[start : start + _CHUNK], chosen, force)
            for group in groups
            for start in range(0, len(group), _CHUNK)
        )
        if owed:
            jobs_owed.send(sender=self.model)
        return owed

    def due(self) -> JobQuerySet:
        """Jobs that could be claimed now."""
        return self.filter(state="pending", due_at__lte=Now())

    def requeue(self) -> int:
        """Make these jobs due again, with all their claims back."""
        from mediasearch.models import Asset

        self._for_write = True
        with transaction.atomic(using=self.db):
            Asset.objects.using(self.db).filter(pk__in=self.order_by().values("asset")).lock()
            return self.update(
                state="pending",
                attempts=0,
                suspect=False,
                due_at=Now(),
                token=None,
                lease_until=None,
                error="",
                finished_at=None,
            )

    requeue.alters_data = True  # type: ignore[attr-defined]

    def progress(self) -> dict[str, dict[str, int]]:
        """Return how many jobs there are by stage and state."""
        counts: dict[str, dict[str, int]] = {}
        for stage, state, number in self.values_list("stage", "state").annotate(n=Count("pk")).order_by():
            counts.setdefault(stage, {})[state] = number
        return counts

    def unfinished(self) -> JobQuerySet:
        return self.filter(Q(state="pending") | Q(state="running"))


def settled_key(stage: str, generation: int | None = None) -> str:
    """The key under which an asset remembers what a job had done, once that is pruned; in SQL, `SETTLED_KEY`."""
    return f"{stage}" if generation is None else f"{stage}:{generation}"


SETTLED_KEY = "concat_ws(':', stage, generation_id)"


def owed_stages() -> list[str]:
    """The stages that every asset goes through as the site is set up."""
    from mediasearch import conf
    from mediasearch.models import Stage

    absent = set()
    if conf.settings().reader is None:
        absent.add(Stage.READ)
    if conf.settings().captioner is None:
        absent.add(Stage.DESCRIBE)
    return [stage for stage in Stage if stage not in absent]


def _upsert(using: str, rows: Sequence[Owed], priority: int, force: bool) -> int:
    """Insert jobs, or make them due again where their input changed; a running one loses its token, and so its claim.

    A job with nothing to read (no description) is written as done, so that only a change wakes a worker. One that was
    pruned is not written again for the same input.
    """
    from mediasearch.models import Asset, Job

    if not rows:
        return 0
    conflict, same = "(asset_id, stage) WHERE generation_id IS NULL", "generation_id IS NULL"
    if rows[0][2] is not None:
        conflict = "(asset_id, stage, generation_id) WHERE generation_id IS NOT NULL"
        same = "generation_id = owed.generation_id"
    table, assets = Job._meta.db_table, Asset._meta.db_table
    with connections[using].cursor() as cursor:
        cursor.execute(
            f"""
            INSERT INTO {table} AS job (asset_id, stage, generation_id, input_key, state, priority, attempts, suspect,
                                        afresh, error, due_at, created_at, finished_at)
            SELECT asset_id, owed.stage, generation_id, owed.input_key,
                   CASE WHEN nothing THEN 'done' ELSE 'pending' END, %s, 0, false, %s, '', clock_timestamp(),
                   clock_timestamp(), CASE WHEN nothing THEN clock_timestamp() END
            FROM unnest(%s::bigint[], %s::text[], %s::bigint[], %s::text[])
                     AS owed (asset_id, stage, generation_id, input_key)
                 -- A job that stays as it is must not be locked, as ON CONFLICT would: workers hold many of them.
                 LEFT JOIN LATERAL (SELECT input_key AS key FROM {table}
                                    WHERE asset_id = owed.asset_id AND stage = owed.stage AND {same}) AS known ON true
                 LEFT JOIN LATERAL (SELECT settled ->> {SETTLED_KEY} AS key FROM {assets} WHERE id = asset_id)
                     AS pruned ON true,
                 LATERAL (SELECT owed.input_key = '' AND coalesce(pruned.key, '') = '' AND NOT %s AS nothing) AS reads
            WHERE %s OR coalesce(known.key, pruned.key) IS DISTINCT FROM owed.input_key
            ON CONFLICT {conflict} DO UPDATE
            SET state = 'pending', input_key = excluded.input_key, priority = excluded.priority, attempts = 0,
                suspect = false, afresh = excluded.afresh, error = '', due_at = clock_timestamp(), token = NULL,
                lease_until = NULL, finished_at = NULL
            WHERE job.input_key <> excluded.input_key OR %s
            RETURNING state
            """,
            [
                priority,
                force,
                *map(list, zip(*rows, strict=True)),
                force,
                force,
                force,
            ],
        )
        return sum(1 for (state,) in cursor.fetchall() if state == "pending")
