"""Questions to the tables, and the one way in which work comes to be owed."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, Self, TypeAlias, TypeVar, cast

from django.contrib.postgres.fields import ArrayField
from django.db import connections, models, router, transaction
from django.db.models import Count, Exists, F, Func, Max, OuterRef, Q, Value
from django.db.models.functions import Now
from django.dispatch import Signal

from mediasearch import derivation
from mediasearch.derivation import Inputs
from mediasearch.exceptions import WrittenByWorkers

if TYPE_CHECKING:
    from mediasearch.models import Asset, Embedding, Generation, Job, Pause, Tally  # noqa: F401

M = TypeVar("M", bound=models.Model)
Owed: TypeAlias = tuple[int | None, str, int | None, str]
"""Asset, stage, generation and input key of a job."""
INPUTS = frozenset(field.name for field in fields(Inputs))
_CHUNK = 1_000
jobs_owed = Signal()
"""Sent, in the transaction, where jobs became due: somebody should be told when it commits."""


class StoredQuerySet(models.QuerySet[M]):
    """Rows of a table of mediasearch's."""

    def primary(self) -> Self:
        """Read from the database that is written: what a replica still has must not lead to a write."""
        return self.using(router.db_for_write(self.model))

    def among(self, ids: Sequence[int]) -> Self:
        """Those with these primary keys, as one array however many they are."""
        return self.filter(Among(F("pk"), Value(list(ids), output_field=ArrayField(models.BigIntegerField()))))


class Among(Func):
    """`x = ANY (array)`: one parameter, where IN has one for each value."""

    template = "(%(expressions)s))"
    arg_joiner = " = ANY ("
    output_field = models.BooleanField()


class AssetQuerySet(StoredQuerySet["Asset"]):
    """Assets, whose text vectors and jobs follow whichever way people write them."""

    def update(self, **kwargs: Any) -> int:
        """As in Django: all or nothing; text vectors and jobs follow in the same transaction.

        Rows are locked in the order of their keys, so that two updates can't deadlock. Raises WrittenByWorkers for a
        column that only workers write.
        """
        self._refuse_workers_columns(kwargs)
        if "caption" in kwargs:
            kwargs.setdefault("caption_source", "")
        self._for_write = True
        with transaction.atomic(using=self.db):
            ids = self.lock()
            stored = self.model.objects.using(self.db)
            if self._are_plain(kwargs):
                return stored._write_plain(ids, kwargs)
            count = super(AssetQuerySet, self.among(ids)).update(**kwargs)
            if set(kwargs) & INPUTS:
                stored.follow(ids, stages=_stages_reading(kwargs))
        return count

    update.alters_data = True  # type: ignore[attr-defined]

    def bulk_create(
        self,
        objs: Iterable[Asset],
        batch_size: int | None = None,
        ignore_conflicts: bool = False,
        update_conflicts: bool = False,
        update_fields: Collection[str] | None = None,
        unique_fields: Collection[str] | None = None,
    ) -> list[Asset]:
        """As in Django, upserts too; text vectors and jobs follow in the same transaction, at back-fill priority.

        Raises WrittenByWorkers where an upsert names a column that only workers write.
        """
        from mediasearch.models import Job, written_fields

        self._for_write = True
        assets = list(objs)
        for asset in assets:
            asset.prepare()
            if ignore_conflicts:
                asset.derived_version = 0  # Django does not say which of them are stored; this does.
        if update_fields is not None:
            self._refuse_workers_columns(update_fields)
            update_fields = sorted(written_fields(update_fields))
        with transaction.atomic(using=self.db):
            stored = self.model.objects.using(self.db)
            if update_conflicts and unique_fields:
                stored._in_conflict(assets, unique_fields).lock()
            named = [asset.pk for asset in assets if asset.pk is not None]
            last = stored.aggregate(last=Max("pk"))["last"] or 0
            created = super().bulk_create(
                assets, batch_size, ignore_conflicts, update_conflicts, update_fields, unique_fields
            )
            if ignore_conflicts:
                new = stored.filter(Q(pk__gt=last) | Q(pk__in=named), derived_version=0)
                stored.follow(new.lock(), priority=Job.BACKFILL)
            elif update_conflicts:
                stored.follow(sorted(asset.pk for asset in created), priority=Job.BACKFILL)
            else:
                Job.objects.using(self.db).owe(created, priority=Job.BACKFILL)
        return created

    bulk_create.alters_data = True  # type: ignore[attr-defined]

    def record(self, **found: Any) -> int:
        """Store what workers found out, in columns that nobody else writes; `follow` is left to the caller."""
        return super().update(**found)

    record.alters_data = True  # type: ignore[attr-defined]

    def follow(self, ids: Sequence[int], *, stages: Collection[str] | None = None, priority: int | None = None) -> int:
        """Store the text vectors of assets and owe what their rows call for; return how many jobs became due by it.

        `stages` are those whose input may have changed, all by default. Runs in the caller's transaction, which has
        written or locked these rows.
        """
        from mediasearch.models import Job

        owed = 0
        for start in range(0, len(ids), _CHUNK):
            rows = self.inputs(ids[start : start + _CHUNK])
            derivation.rewrite(rows, self.db)
            owed += Job.objects.using(self.db).owe_inputs(rows, stages, priority=priority)
        return owed

    follow.alters_data = True  # type: ignore[attr-defined]

    def lock(self, *, skip_locked: bool = False, limit: int | None = None) -> list[int]:
        """Lock these rows for a write, or the first few, in the order of their keys; return the keys that are locked.

        Everybody who locks several assets does so in this order, and locks assets before their jobs.
        """
        rows = self.order_by()
        if rows.query.group_by is not None or rows.query.distinct or rows.query.is_sliced:
            rows = self.model.objects.using(self.db).filter(pk__in=rows.values("pk"))
        rows = rows.select_for_update(of=("self",), no_key=True, skip_locked=skip_locked)
        return list(rows.order_by("pk").values_list("pk", flat=True)[:limit])

    def inputs(self, ids: Sequence[int]) -> list[Inputs]:
        """Return what text vectors and jobs of assets follow from, as it is stored now, in the order of their keys."""
        rows = self.model.objects.using(self.db).among(ids).order_by("pk")
        return [Inputs(*row) for row in rows.values_list(*(field.name for field in fields(Inputs)))]

    def outdated(self) -> Self:
        """Assets from whose rows nothing has followed yet, or what an older version makes of them."""
        from mediasearch.models import current_version

        return self.filter(derived_version__lt=current_version())

    def blank(self) -> Self:
        """Assets that were inspected, or read, and have lost what was found out."""
        from mediasearch.models import BLANK, Job, Stage

        key = settled_key(Stage.INSPECT)
        jobs = Job.objects.filter(asset=OuterRef("pk"), stage=Stage.INSPECT)
        done = Exists(jobs.filter(state="done").exclude(input_key=""))  # Else there was no file to inspect.
        remembered = Q(settled__has_key=key) & ~Q(**{f"settled__{key}": ""}) & ~Exists(jobs)
        return self.filter(BLANK, done | remembered)

    def lacking_jobs(self) -> Self:
        """Assets that were never owed what every asset is owed."""
        from mediasearch.models import Generation, Job, Stage

        jobs = Job.objects.filter(asset=OuterRef("pk"))
        lacking = Q(~Exists(jobs.filter(stage=Stage.INSPECT)) & ~Q(settled__has_key=settled_key(Stage.INSPECT)))
        for generation in Generation.objects.using(self.db).living():
            made = jobs.filter(stage=Stage.EMBED_IMAGE, generation=generation)
            lacking |= Q(~Exists(made) & ~Q(settled__has_key=settled_key(Stage.EMBED_IMAGE, generation.pk)))
        return self.filter(lacking)

    def _are_plain(self, values: Mapping[str, Any]) -> bool:
        """Are these texts of all rows, and no expressions, so that what follows from them is known before?"""
        for name, value in values.items():
            if not isinstance(value, str) and not (name == "tags" and isinstance(value, list)):
                return False
        return bool({*values} & INPUTS) and "file_version" not in values

    def _write_plain(self, ids: Sequence[int], values: Mapping[str, Any]) -> int:
        """Store the same texts in all of these assets, with what follows; return how many there are."""
        from mediasearch.models import Job

        columns = {}
        for name, value in values.items():
            field = cast("models.Field[Any, Any]", self.model._meta.get_field(name))
            columns[str(field.column)] = field.get_db_prep_save(value, connections[self.db])
        written, new = 0, {name: value for name, value in values.items() if name in INPUTS}
        for start in range(0, len(ids), _CHUNK):
            rows = [replace(row, **new) for row in self.inputs(ids[start : start + _CHUNK])]
            written += derivation.rewrite(rows, self.db, columns)
            Job.objects.using(self.db).owe_inputs(rows, _stages_reading(values))
        return written

    def _refuse_workers_columns(self, names: Iterable[str]) -> None:
        if refused := sorted(self.model.WORKERS & {*names}):
            raise WrittenByWorkers(
                f"Only workers write {', '.join(refused)}. To have them made again, call mediasearch.reindex(assets)."
            )

    def _in_conflict(self, assets: Sequence[Asset], unique_fields: Iterable[str]) -> Self:
        """The stored rows that an upsert may change, and perhaps a few others."""
        names = {"pk" if name == "id" else name for name in unique_fields}
        values = {name: {getattr(asset, name) for asset in assets} - {None} for name in names}
        return self.filter(**{f"{name}__in": some for name, some in values.items()})


class EmbeddingQuerySet(StoredQuerySet["Embedding"]):
    """Vectors."""


class GenerationQuerySet(StoredQuerySet["Generation"]):
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


class PauseQuerySet(StoredQuerySet["Pause"]):
    """Stages at rest."""

    def current(self) -> PauseQuerySet:
        return self.filter(until__gt=Now())


class TallyQuerySet(StoredQuerySet["Tally"]):
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


def _stages_reading(names: Collection[str]) -> list[str]:
    """Return the stages whose input is among these columns."""
    from mediasearch.models import Stage

    if {"source", "file", "file_version"} & {*names}:
        return owed_stages()
    return [Stage.EMBED_CAPTION] if {*derivation.DESCRIPTION} & {*names} else []


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
