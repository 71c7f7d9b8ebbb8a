"""Generations: which encoders made which vectors, and the indexes that belong to them."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from django.db import connections, router, transaction
from django.db.models.functions import Now

from mediasearch import conf
from mediasearch.exceptions import EncoderUnavailable, MediaSearchError
from mediasearch.features import backends
from mediasearch.features.base import Captioner, Encoder
from mediasearch.indexing import doorbell
from mediasearch.models import Asset, Embedding, Generation, Job

logger = logging.getLogger(__name__)
LOCK = 0x6D656467
M, EF_CONSTRUCTION = 16, 128
FIELDS = ("image", "caption")
_CHUNK = 1_000


@dataclass(frozen=True, slots=True)
class Encoders:
    """The two encoders of a generation; often one and the same."""

    image: Encoder
    caption: Encoder


def encoders(generation_id: int) -> Encoders:
    """Return the encoders that a generation was made with, loaded once in this process. Raises EncoderUnavailable."""
    generation = Generation.objects.get(pk=generation_id)
    pair = _load(generation.encoder, generation.caption_encoder)
    for encoder, expected in ((pair.image, generation.fingerprint), (pair.caption, generation.caption_fingerprint)):
        if encoder.fingerprint != expected:
            raise EncoderUnavailable(
                f"Generation {generation.pk} was made by {expected}, but these weights are {encoder.fingerprint}."
                " Put the old weights back, or start a new generation: `manage.py mediasearch_reindex`."
            )
    return pair


def warm_active(*, texts_only: bool) -> None:
    """Load the encoders of the active generation, if there is one already, and try them once."""
    if generation := Generation.objects.active():
        pair = encoders(generation.pk)
        for encoder in {pair.image, pair.caption}:
            if texts_only:
                encoder.forget_images()
            encoder.encode_texts(["a picture"])


def captioner() -> Captioner | None:
    """Return the captioner of the settings, loaded once in this process; None where none is set."""
    spec = conf.settings().captioner
    return None if spec is None else backends.captioner(spec.as_dict())


def ensure_active() -> Generation:
    """Return the active generation, loaded; make the first one where there is none. Raises EncoderUnavailable.

    Called by a worker before its first batch, as only a worker can load the model that a generation is named after.
    """
    generation = Generation.objects.active()
    if generation is None:
        with _only_one():
            generation = Generation.objects.active() or activate(create())
    encoders(generation.pk)
    return generation


def create() -> Generation:
    """Make a building generation with the encoders of the settings, owe its vectors, and build its indexes."""
    settings = conf.settings()
    caption_spec = settings.caption_encoder.as_dict() if settings.caption_encoder else None
    pair = _load(settings.encoder.as_dict(), caption_spec)
    generation = Generation.objects.create(
        encoder=settings.encoder.as_dict(),
        fingerprint=pair.image.fingerprint,
        dimensions=pair.image.dimensions,
        languages=_listed(pair.image),
        caption_encoder=caption_spec,
        caption_fingerprint=pair.caption.fingerprint,
        caption_dimensions=pair.caption.dimensions,
        caption_languages=_listed(pair.caption),
    )
    owe_all(generation)
    build_indexes(generation)
    return generation


def owe_all(generation: Generation) -> None:
    """Owe a generation's vectors to every asset, at low priority."""
    last = 0
    while assets := list(Asset.objects.filter(pk__gt=last).order_by("pk")[:_CHUNK]):
        Job.objects.owe(assets, generations=[generation], priority=Job.BACKFILL)
        last = assets[-1].pk


def activate(generation: Generation) -> Generation:
    """Make a generation the one that searches use, and retire the one before it, in one transaction."""
    with transaction.atomic(using=_database()):
        Generation.objects.filter(state=Generation.State.ACTIVE).update(state=Generation.State.RETIRED)
        Generation.objects.filter(pk=generation.pk).update(state=Generation.State.ACTIVE, activated_at=Now())
        doorbell.ring_on_commit([doorbell.QUERY])
    generation.refresh_from_db()
    logger.info("Generation %s is active.", generation)
    return generation


def index_name(generation_id: int, field: str) -> str:
    return f"mediasearch_hnsw_{int(generation_id)}_{field}"


def build_indexes(generation: Generation) -> None:
    """Build the HNSW index of each vector field, CONCURRENTLY; one that a failed build left invalid is replaced."""
    connection = connections[_database()]
    if connection.in_atomic_block:
        raise MediaSearchError("An index can't be built CONCURRENTLY inside a transaction.")
    table = Embedding._meta.db_table
    for field, dimensions in (("image", generation.dimensions), ("caption", generation.caption_dimensions)):
        name = index_name(generation.pk, field)
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT indisvalid FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid WHERE relname = %s", [name]
            )
            if (found := cursor.fetchone()) and found[0]:
                continue
            if found:
                cursor.execute(f"DROP INDEX CONCURRENTLY {name}")
            # Integers, not parameters: a planner that sees `$1` can't prove that the partial index applies.
            cursor.execute(
                f"CREATE INDEX CONCURRENTLY {name} ON {table}"
                f" USING hnsw (({field}::halfvec({int(dimensions)})) halfvec_ip_ops)"
                f" WITH (m = {M}, ef_construction = {EF_CONSTRUCTION}) WHERE generation_id = {int(generation.pk)}"
            )


def drop_indexes(generation: Generation) -> None:
    """Drop a generation's HNSW indexes."""
    with connections[_database()].cursor() as cursor:
        for field in FIELDS:
            cursor.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {index_name(generation.pk, field)}")


class _only_one:  # noqa: N801
    """Hold a lock of the session, so that of many workers that start together one makes the first generation."""

    def __enter__(self) -> None:
        with connections[_database()].cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(%s)", [LOCK])

    def __exit__(self, *_: object) -> None:
        with connections[_database()].cursor() as cursor:
            cursor.execute("SELECT pg_advisory_unlock(%s)", [LOCK])


def _load(image: dict[str, Any], caption: dict[str, Any] | None) -> Encoders:
    encoder = backends.encoder(image)
    return Encoders(encoder, backends.encoder(caption) if caption else encoder)


def _listed(encoder: Encoder) -> list[str] | None:
    return None if encoder.languages is None else sorted(encoder.languages)


def _database() -> str:
    return router.db_for_write(Embedding)
