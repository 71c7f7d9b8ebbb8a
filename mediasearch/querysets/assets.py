"""Assets: how people and workers write them, and what follows."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, Self, cast

from django.db import connections, models, transaction
from django.db.models import Exists, Max, OuterRef, Q

from mediasearch import derivation
from mediasearch.derivation import Inputs
from mediasearch.exceptions import WrittenByWorkers
from mediasearch.querysets.base import StoredQuerySet
from mediasearch.querysets.jobs import owed_stages, settled_key

if TYPE_CHECKING:
    from mediasearch.models import Asset

INPUTS = frozenset(field.name for field in fields(Inputs))
_CHUNK = 1_000


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
            for asset in () if ignore_conflicts or update_conflicts else created:
                asset.note_stored(self.db, asset.STICKY)
        return created

    bulk_create.alters_data = True  # type: ignore[attr-defined]

    def bulk_update(self, objs: Iterable[Asset], fields: Iterable[str], batch_size: int | None = None) -> int:
        """As in Django; files that were not stored yet are stored first."""
        assets, names = list(objs), {*fields}
        if "file" in names:
            names.add("file_version")
            for asset in assets:
                asset.store_file()
        return super().bulk_update(assets, sorted(names), batch_size)

    bulk_update.alters_data = True  # type: ignore[attr-defined]

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

    def having(self, name: str) -> Self:
        """Assets that have a file of the storage, as their own or as their thumbnail."""
        # The second half of each names the condition of the index that it is looked up in.
        return self.filter(Q(Q(file=name), ~Q(file="")) | Q(Q(thumbnail=name), ~Q(thumbnail="")))

    def outdated(self) -> Self:
        """Assets from whose rows nothing has followed yet, or what an older version makes of them."""
        from mediasearch.models import current_version

        return self.filter(derived_version__lt=current_version())

    def blank(self) -> Self:
        """Assets that were inspected, or read, and have lost what was found out."""
        from mediasearch.models import BLANK, Job, Stage

        key = settled_key(Stage.INSPECT)
        jobs = Job.objects.filter(asset=OuterRef("pk"), stage=Stage.INSPECT)
        open_jobs = Job.objects.filter(asset=OuterRef("pk"), stage__in=[Stage.INSPECT, Stage.READ])
        settled = ~Exists(open_jobs.exclude(state__in=["done", "skipped"]))  # What has failed would do so again.
        done = Exists(jobs.filter(state="done").exclude(input_key=""))  # Else there was no file to inspect.
        remembered = Q(settled__has_key=key) & ~Q(**{f"settled__{key}": ""}) & ~Exists(jobs)
        return self.filter(BLANK, done | remembered, settled)

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


def _stages_reading(names: Collection[str]) -> list[str]:
    """Return the stages whose input is among these columns."""
    from mediasearch.models import Stage

    if {"source", "file", "file_version"} & {*names}:
        return owed_stages()
    return [Stage.EMBED_CAPTION] if {*derivation.DESCRIPTION} & {*names} else []
