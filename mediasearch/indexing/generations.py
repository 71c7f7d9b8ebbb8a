"""Generations: which encoders made which vectors, and the indexes that belong to them."""

from __future__ import annotations

import logging
import time

from django.db import connections, router, transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.db.models.functions import Now

from mediasearch import conf
from mediasearch.conf import Spec
from mediasearch.exceptions import MediaSearchError, NotReady
from mediasearch.features import backends
from mediasearch.features.base import Encoder
from mediasearch.indexing import construction, doorbell, encoders, indexes
from mediasearch.indexing.watching import Report, Step
from mediasearch.models import Asset, Embedding, Generation, Job, Stage
from mediasearch.querysets import GenerationQuerySet, JobQuerySet

logger = logging.getLogger(__name__)
LOCK = 0x6D656467
PATIENCE = 60.0
"""Seconds that a deletion waits for transactions which may still use what it deletes."""
_CHUNK = 1_000


def ensure_active() -> Generation:
    """Return the active generation, loaded; make the first one where there is none. Raises EncoderUnavailable.

    Called by a worker before its first batch, as only a worker can load the model that a generation is named after.
    """
    generation = _generations().active() or _first()
    encoders.of(generation.pk)
    return generation


def _first() -> Generation:
    """Make the first generation, or return the one that another worker made at the same moment."""
    backends.encoder(conf.settings().encoder.as_dict())  # Loaded before the lock, for it takes a while.
    with transaction.atomic(using=_database()):
        _lock()
        if generation := _generations().active():
            return generation
        generation = activate(create(), unfinished=True)
    owe_all(generation, patient=False)
    build_indexes(generation)
    return generation


def create(image: Spec | None = None, caption: Spec | None = None) -> Generation:
    """Make a building generation, with the encoders of the settings where no specs are given.

    From now on new uploads are embedded for it, too; `owe_all` adds what is there already. Raises EncoderUnavailable.
    """
    settings = conf.settings()
    if image is None:
        image, caption = settings.encoder, caption or settings.caption_encoder
    caption_spec = caption.as_dict() if caption else None
    pair = encoders.load(image.as_dict(), caption_spec)
    return _generations().create(
        encoder=image.as_dict(),
        fingerprint=pair.image.fingerprint,
        dimensions=pair.image.dimensions,
        input_size=pair.image.input_size,
        languages=_listed(pair.image),
        caption_encoder=caption_spec,
        caption_fingerprint=pair.caption.fingerprint,
        caption_dimensions=pair.caption.dimensions,
        caption_languages=_listed(pair.caption),
    )


def building(image: Spec | None = None, caption: Spec | None = None) -> Generation | None:
    """Return the generation that was begun with these encoders and is not finished."""
    settings = conf.settings()
    if image is None:
        image, caption = settings.encoder, caption or settings.caption_encoder
    begun = _generations().filter(state=Generation.State.BUILDING, encoder=image.as_dict()).order_by("-pk")
    wanted = caption.as_dict() if caption else None
    return next((generation for generation in begun if generation.caption_encoder == wanted), None)


def reopen(generation: Generation) -> Generation:
    """Have a retired generation catch up with what changed since; new uploads are embedded for it again.

    Raises MediaSearchError where its deletion was begun.
    """
    retired = _generations().filter(pk=generation.pk, state=Generation.State.RETIRED, retired_at__isnull=False)
    if not retired.update(state=Generation.State.BUILDING):
        raise MediaSearchError(f"Generation {generation.pk} can't be gone back to: it is being deleted.")
    generation.refresh_from_db(using=_database())
    owe_all(generation)
    return generation


def owe_all(generation: Generation, *, patient: bool = True) -> None:
    """Owe a generation's vectors to every asset, at low priority; what is there and has not changed is left alone.

    Assets that another transaction holds come last. Where the caller is not `patient`, they are left for the sweep,
    which finds assets that were never owed a generation's vectors.
    """
    last, held = 0, list[int]()
    while ids := list(Asset.objects.primary().filter(pk__gt=last).order_by("pk").values_list("pk", flat=True)[:_CHUNK]):
        held += sorted({*ids} - {*_owe_to(ids, generation, skip_locked=True)})
        last = ids[-1]
    for pk in held if patient else ():
        _owe_to([pk], generation)
    doorbell.ring_on_commit()


def _owe_to(ids: list[int], generation: Generation, *, skip_locked: bool = False) -> list[int]:
    """Owe a generation's vectors to assets, in one transaction; return those that were not held by another one."""
    with transaction.atomic(using=_database()):
        free = Asset.objects.primary().among(ids).lock(skip_locked=skip_locked)
        assets = Asset.objects.primary().among(free).only("pk")
        Job.objects.primary().owe(assets, generations=[generation], priority=Job.BACKFILL)
    return free


def activate(generation: Generation, *, unfinished: bool = False) -> Generation:
    """Make a generation the one that searches use, and retire the one before it, in one transaction.

    Raises NotReady while it lacks a vector that the active one has, unless `unfinished`, and MediaSearchError where it
    is retired, perhaps to be deleted at this moment: `reopen` it first.
    """
    with transaction.atomic(using=_database()):
        _lock()
        if not unfinished and (lacking := assets_lacking(generation)):
            raise NotReady(f"Generation {generation.pk} still lacks the vectors of {lacking} pictures.")
        active = _generations().filter(state=Generation.State.ACTIVE).exclude(pk=generation.pk)
        active.update(state=Generation.State.RETIRED, retired_at=Now())
        usable = _generations().filter(pk=generation.pk).exclude(state=Generation.State.RETIRED)
        if not usable.update(state=Generation.State.ACTIVE, activated_at=Now(), retired_at=None):
            raise MediaSearchError(f"Generation {generation.pk} was retired or deleted meanwhile.")
        doorbell.ring_on_commit([doorbell.query_queue()])
    _forget_pending()
    generation.refresh_from_db(using=_database())
    extra = {"event": "activated", "generation": generation.pk, "fingerprint": generation.fingerprint}
    logger.info("Generation %s is active.", generation, extra=extra)
    return generation


def _forget_pending() -> None:
    """Delete what is still owed to retired generations, some at a time, but for rows that somebody holds."""
    jobs = Job.objects.primary().filter(generation__state=Generation.State.RETIRED, state=Job.State.PENDING)
    while True:
        with transaction.atomic(using=_database()):
            some = jobs.select_for_update(of=("self",), skip_locked=True).order_by("pk").only("pk")[:_CHUNK]
            if not (ids := [job.pk for job in some]):
                return
            Job.objects.primary().filter(pk__in=ids).delete()


def assets_lacking(generation: Generation) -> int:
    """Count the pictures that searches find by a vector now and would not find by this generation's.

    A picture whose job failed for good counts as dealt with: the list of failures says why.
    """
    return _compared(generation).filter(Exists(_unfinished(generation)) | _LOST).count()


def lost(generation: Generation) -> QuerySet[Embedding]:
    """Return those of them that have no unfinished job: without a new one they will be lacking for ever."""
    return _compared(generation).filter(_LOST).exclude(Exists(_unfinished(generation)))


_LOST = Q(has_counterpart=False, has_failed=False)


def _compared(generation: Generation) -> QuerySet[Embedding]:
    """The rows of the active generation, and whether this one has as much of each asset."""
    failed = Job.objects.filter(
        asset=OuterRef("asset"), generation=generation, stage=Stage.EMBED_IMAGE, state=Job.State.FAILED
    )
    made = Embedding.objects.filter(asset=OuterRef("asset"), generation=generation)
    as_much = Exists(made.filter(image__isnull=False)) | Q(Exists(made), image__isnull=True)
    active = Embedding.objects.primary().filter(generation__state=Generation.State.ACTIVE)
    return active.exclude(generation=generation).annotate(has_counterpart=as_much, has_failed=Exists(failed))


def _unfinished(generation: Generation) -> JobQuerySet:
    return Job.objects.filter(asset=OuterRef("asset"), generation=generation).unfinished()


def cancel(generation: Generation) -> None:
    """Give up a building generation: one that was active before is retired again, another one is forgotten."""
    if generation.state != Generation.State.BUILDING:
        raise MediaSearchError(
            f"Generation {generation.pk} is {generation.state}; only a building one can be cancelled."
        )
    if generation.retired_at is not None:
        Job.objects.primary().filter(generation=generation).unfinished().delete()
        _generations().filter(pk=generation.pk).update(state=Generation.State.RETIRED, retired_at=Now())
        return
    forget(generation)


def forget(generation: Generation, report: Report | None = None) -> None:
    """Delete a generation with its indexes, jobs and vectors, some at a time; broken off, it goes on when called again.

    Raises MediaSearchError if it is the active one, and NotReady while somebody may still use it.
    """
    known = _generations().filter(pk=generation.pk)
    if known.filter(state=Generation.State.ACTIVE).exists():
        raise MediaSearchError(f"Generation {generation.pk} is active: searches need it.")
    # Without the date of its retirement it can't be reopened. New uploads owe it nothing while its rows are deleted.
    if not known.filter(state=generation.state).update(state=Generation.State.RETIRED, retired_at=None):
        raise NotReady(f"Generation {generation.pk} is {generation.state} no more: look again.")
    _outlive_others(generation, report)
    drop_indexes(generation)
    jobs = Job.objects.primary().filter(generation=generation)
    vectors = Embedding.objects.primary().filter(generation=generation)
    total, deleted = vectors.count(), 0
    for rows in (jobs, vectors):
        last = 0
        while ids := list(rows.filter(pk__gt=last).order_by("pk").values_list("pk", flat=True)[:_CHUNK]):
            rows.filter(pk__in=ids).delete()
            last = ids[-1]
            if report and rows.model is Embedding:
                deleted += len(ids)
                report(Step(f"Deleting generation {generation.pk}", deleted, total))
    with transaction.atomic(using=_database()):
        # The row is asked for, not the copy in memory: one that came into use meanwhile stays.
        row = known.select_for_update().filter(state=Generation.State.RETIRED, retired_at=None).first()
        if row is None and known.exists():
            raise NotReady(f"Generation {generation.pk} came into use while it was deleted: build it again.")
        if row is not None:
            row.delete()


def _outlive_others(generation: Generation, report: Report | None) -> None:
    """Wait until every transaction has ended that may have seen a generation as it was before."""
    with connections[_database()].cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        (now,) = cursor.fetchone()
        end = time.monotonic() + PATIENCE
        while True:
            cursor.execute(
                "SELECT min(xact_start) FROM pg_stat_activity WHERE datname = current_database()"
                " AND backend_type = 'client backend' AND pid <> pg_backend_pid() AND xact_start < %s",
                [now],
            )
            (since,) = cursor.fetchone()
            if since is None:
                return
            if time.monotonic() > end:
                raise NotReady(
                    f"A transaction that is open since {since:%Y-%m-%d %H:%M:%S %Z} may still use generation"
                    f" {generation.pk}. Run this again when it has ended."
                )
            if report:
                report(Step(f"Waiting for a transaction that is open since {since:%H:%M:%S %Z}.", waits=True))
            time.sleep(0.1)


def build_indexes(generation: Generation, report: Report | None = None) -> None:
    """Have the HNSW index of each vector field as it should be, built CONCURRENTLY."""
    for index in indexes.wanted(generation):
        construction.build(index, report)


def drop_indexes(generation: Generation) -> None:
    """Drop a generation's HNSW indexes, and what rebuilding them left."""
    names = {index.name for index in indexes.wanted(generation)}
    construction.drop(one.name for one in indexes.found().values() if any(one.belongs_to(name) for name in names))


def _lock() -> None:
    """Let one process at a time change which generation is active, until its transaction ends."""
    with connections[_database()].cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])


def _listed(encoder: Encoder) -> list[str] | None:
    return None if encoder.languages is None else sorted(encoder.languages)


def _generations() -> GenerationQuerySet:
    """Generations as the database has them that is written: a replica may lag behind it."""
    return Generation.objects.primary()


def _database() -> str:
    return router.db_for_write(Embedding)
