"""Questions to the tables, and the one way in which work comes to be owed."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from django.db import connections, models, transaction
from django.db.models import Count, Exists, OuterRef, Q
from django.db.models.functions import Now

if TYPE_CHECKING:
    from mediasearch.models import Asset, Generation, Job, Pause, Tally  # noqa: F401

_CHUNK = 1_000


class AssetQuerySet(models.QuerySet["Asset"]):
    """Assets, whose text vectors and jobs follow whichever way they are written."""

    def update(self, **kwargs: Any) -> int:
        """As in Django; where a text or a file changes, text vector and jobs follow in the same transaction."""
        from mediasearch.models import Job

        watched = {*self.model.TEXT_WEIGHTS, "language", "file", "file_version"}
        if not set(kwargs) & watched or "text_vector" in kwargs:
            return super().update(**kwargs)
        with transaction.atomic(using=self.db):
            ids = list(self.select_for_update().order_by("pk").values_list("pk", flat=True))
            changed = self.model.objects.using(self.db).filter(pk__in=ids)
            count = super(AssetQuerySet, changed).update(**kwargs)
            for start in range(0, len(ids), _CHUNK):
                assets = list(self.model.objects.using(self.db).filter(pk__in=ids[start : start + _CHUNK]))
                for asset in assets:
                    asset.prepare()
                    derived = {"text_vector": asset.text_vector, "file_version": asset.file_version}
                    changed.filter(pk=asset.pk).update(**derived)
                Job.objects.using(self.db).owe(assets)
        return count

    update.alters_data = True  # type: ignore[attr-defined]

    def bulk_create(self, objs: Iterable[Asset], *args: Any, **kwargs: Any) -> list[Asset]:
        """As in Django; the jobs of the new assets are written in the same transaction."""
        from mediasearch.models import Job

        assets = list(objs)
        for asset in assets:
            asset.prepare()
        with transaction.atomic(using=self.db):
            created = super().bulk_create(assets, *args, **kwargs)
            Job.objects.owe(created, priority=Job.BACKFILL)
        return created

    def lacking_jobs(self) -> AssetQuerySet:
        """Assets that were never owed what every asset is owed."""
        from mediasearch.models import Generation, Job, Stage

        jobs = Job.objects.filter(asset=OuterRef("pk"))
        lacking = Q(~Exists(jobs.filter(stage=Stage.INSPECT)) & ~Q(settled__has_key=settled_key(Stage.INSPECT)))
        for generation in Generation.objects.living():
            made = jobs.filter(stage=Stage.EMBED_IMAGE, generation=generation)
            lacking |= Q(~Exists(made) & ~Q(settled__has_key=settled_key(Stage.EMBED_IMAGE, generation.pk)))
        return self.filter(lacking)


class GenerationQuerySet(models.QuerySet["Generation"]):
    """Generations, of which one answers searches."""

    def active(self) -> Generation | None:
        """The generation that searches use; None before the first worker has started."""
        return self.filter(state="active").first()

    def living(self) -> GenerationQuerySet:
        """Those that new uploads must be written to."""
        return self.filter(state__in=["active", "building"]).order_by("pk")

    def hold_living(self) -> list[Generation]:
        """The same, which nobody can delete until the caller's transaction ends."""
        table = self.model._meta.db_table
        living = f"SELECT * FROM {table} WHERE state IN ('active', 'building') ORDER BY id FOR KEY SHARE"
        return list(self.raw(living, using=self.db))


class JobQuerySet(models.QuerySet["Job"]):
    """Jobs: what is owed, due and done."""

    def owe(
        self,
        assets: Sequence[Asset],
        stages: Collection[str] | None = None,
        *,
        generations: Sequence[Generation] | None = None,
        priority: int | None = None,
        force: bool = False,
    ) -> int:
        """Write down what is owed to assets; return how many jobs became due by it.

        A job whose input is the same as last time stays as it is, unless `force`. Runs in the caller's transaction.
        """
        from mediasearch.models import EMBEDS, Generation, Job, Stage

        wanted = set(stages if stages is not None else owed_stages())
        living = Generation.objects.using(self.db).hold_living() if generations is None else generations
        rows: list[tuple[Asset, str, int | None]] = []
        for stage in Stage:
            if stage in wanted:
                targets = [g.pk for g in living] if stage in EMBEDS else [None]
                rows += [(asset, stage, target) for asset in assets for target in targets]
        rows.sort(key=lambda row: row[0].pk)  # One order for all writers, so that they can't deadlock.
        chosen = Job.UPLOAD if priority is None else priority
        return sum(
            _upsert(self.db, group[start : start + _CHUNK], chosen, force)
            for group in ([r for r in rows if r[2] is None], [r for r in rows if r[2] is not None])
            for start in range(0, len(group), _CHUNK)
        )

    def due(self) -> JobQuerySet:
        """Jobs that could be claimed now."""
        return self.filter(state="pending", due_at__lte=Now())

    def requeue(self) -> int:
        """Make these jobs due again, with all their claims back."""
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


class PauseQuerySet(models.QuerySet["Pause"]):
    """Stages at rest."""

    def current(self) -> PauseQuerySet:
        return self.filter(until__gt=Now())


class TallyQuerySet(models.QuerySet["Tally"]):
    """Counters that only grow."""

    def count_up(self, stage: str, outcomes: Mapping[str, int]) -> None:
        """Add to the counters of a stage, in the caller's transaction."""
        rows = sorted((outcome, number) for outcome, number in outcomes.items() if number)
        if not rows:
            return
        table = self.model._meta.db_table
        with connections[self.db].cursor() as cursor:
            cursor.execute(
                f"INSERT INTO {table} AS tally (stage, outcome, number)"
                " SELECT %s, outcome, number FROM unnest(%s::text[], %s::bigint[]) AS more (outcome, number)"
                " ON CONFLICT (stage, outcome) DO UPDATE SET number = tally.number + excluded.number",
                [stage, [outcome for outcome, _ in rows], [number for _, number in rows]],
            )


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


def _upsert(using: str, rows: Sequence[tuple[Asset, str, int | None]], priority: int, force: bool) -> int:
    """Insert jobs, or make them due again where their input changed; a running one loses its token, and so its claim.

    A job with nothing to read (no description) is written as done, so that only a change wakes a worker. One that was
    pruned is not written again for the same input.
    """
    from mediasearch.models import Asset, Job

    if not rows:
        return 0
    keys = [asset.input_key(stage) for asset, stage, _ in rows]
    conflict, same = "(asset_id, stage) WHERE generation_id IS NULL", "generation_id IS NULL"
    if rows[0][2] is not None:
        conflict = "(asset_id, stage, generation_id) WHERE generation_id IS NOT NULL"
        same = "generation_id = owed.generation_id"
    table, assets = Job._meta.db_table, Asset._meta.db_table
    with connections[using].cursor() as cursor:
        cursor.execute(
            f"""
            INSERT INTO {table} AS job (asset_id, stage, generation_id, input_key, state, priority, attempts, suspect,
                                        error, due_at, created_at, finished_at)
            SELECT asset_id, stage, generation_id, input_key, CASE WHEN nothing THEN 'done' ELSE 'pending' END,
                   %s, 0, false, '', clock_timestamp(), clock_timestamp(), CASE WHEN nothing THEN clock_timestamp() END
            FROM unnest(%s::bigint[], %s::text[], %s::bigint[], %s::text[])
                     AS owed (asset_id, stage, generation_id, input_key)
                 LEFT JOIN LATERAL (SELECT settled ->> {SETTLED_KEY} AS key FROM {assets} WHERE id = asset_id)
                     AS pruned ON true,
                 LATERAL (SELECT input_key = '' AND coalesce(pruned.key, '') = '' AND NOT %s AS nothing) AS reads
            WHERE %s OR pruned.key IS DISTINCT FROM input_key
                  OR EXISTS (SELECT 1 FROM {table} WHERE asset_id = owed.asset_id AND stage = owed.stage AND {same})
            ON CONFLICT {conflict} DO UPDATE
            SET state = 'pending', input_key = excluded.input_key, priority = excluded.priority, attempts = 0,
                suspect = false, error = '', due_at = clock_timestamp(), token = NULL, lease_until = NULL,
                finished_at = NULL
            WHERE job.input_key <> excluded.input_key OR %s
            RETURNING state
            """,
            [
                priority,
                [asset.pk for asset, _, _ in rows],
                [str(stage) for _, stage, _ in rows],
                [generation for _, _, generation in rows],
                keys,
                force,
                force,
                force,
            ],
        )
        return sum(1 for (state,) in cursor.fetchall() if state == "pending")
