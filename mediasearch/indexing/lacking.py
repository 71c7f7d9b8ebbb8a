"""Vectors that are gone though the job that made them is done: they are owed again.

Nothing else would miss them: a job that is done, or remembered as done, is owed anew only when its input changes.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

from django.db import router, transaction
from django.db.models import Exists, OuterRef, Q

from mediasearch.indexing import doorbell
from mediasearch.models import EMBEDS, Asset, Embedding, Generation, Job, Stage
from mediasearch.querysets import settled_key

logger = logging.getLogger(__name__)
CHUNK = 500
"""Assets that are looked up, and owed their vectors, in one transaction."""


def owe(generation: Generation) -> int:
    """Owe all vectors of a generation that are gone, at back-fill priority; return how many assets lack them."""
    return sum(_owed(generation))


def owe_some_everywhere() -> int:
    """The same for about CHUNK assets of each living generation."""
    living = Generation.objects.primary().living()
    return sum(next(_owed(generation), 0) for generation in living)


def _owed(generation: Generation) -> Iterator[int]:
    """Owe vectors chunk by chunk, and yield how many assets lack them, where any of a chunk does."""
    ids = _without_vectors(generation)
    for start in range(0, len(ids), CHUNK):
        if number := _owe(generation, ids[start : start + CHUNK]):
            yield number


def _without_vectors(generation: Generation) -> list[int]:
    """Return the assets without an image vector on which no work is left, unless the image could not be embedded.

    With a million assets this is a join of tables; what else is asked of these few is looked up for each.
    """
    made = Embedding.objects.filter(asset=OuterRef("pk"), generation=generation, image__isnull=False)
    jobs = Job.objects.filter(asset=OuterRef("pk"), generation=generation, stage__in=EMBEDS)
    left = jobs.filter(_UNFINISHED | Q(state=Job.State.FAILED, stage=Stage.EMBED_IMAGE))
    assets = Asset.objects.primary().filter(~Exists(made), ~Exists(left))
    return list(assets.order_by("pk").values_list("pk", flat=True))


_UNFINISHED = Q(state=Job.State.PENDING) | Q(state=Job.State.RUNNING)


def _gone(generation: Generation) -> Q:
    """Was there an image vector that is not there now, or a caption's of an asset that has no row now?"""
    rows = Embedding.objects.filter(asset=OuterRef("pk"), generation=generation)
    image = Q(~Exists(rows.filter(image__isnull=False))) & _made(generation, Stage.EMBED_IMAGE)
    return image | Q(~Exists(rows) & _made(generation, Stage.EMBED_CAPTION))


def _made(generation: Generation, stage: Stage) -> Q:
    """Was there something to embed, and was that done? A job that is there counts, and not what is remembered."""
    jobs = Job.objects.filter(asset=OuterRef("pk"), generation=generation, stage=stage)
    key = settled_key(stage, generation.pk)
    remembered = Q(settled__has_key=key) & ~Q(**{f"settled__{key}": ""})
    return Q(Exists(jobs.filter(state=Job.State.DONE).exclude(input_key=""))) | Q(~Exists(jobs) & remembered)


def _owe(generation: Generation, ids: Sequence[int]) -> int:
    """Owe vectors to those of these assets that had them, and return how many they are."""
    using = router.db_for_write(Job)
    with transaction.atomic(using=using):
        # Held, as neither an asset nor a generation may be deleted between the question and the writing.
        if generation not in Generation.objects.using(using).hold_living():
            return 0
        free = Asset.objects.using(using).filter(_gone(generation), pk__in=ids)
        some = list(free.select_for_update(skip_locked=True, no_key=True).order_by("pk"))
        for stage in EMBEDS:
            read = [asset for asset in some if stage == Stage.EMBED_CAPTION or asset.input_key(stage)]
            Job.objects.using(using).owe(read, [stage], generations=[generation], priority=Job.BACKFILL, force=True)
        if some:
            doorbell.ring_on_commit()
            extra = {"event": "vectors-gone", "generation": generation.pk, "assets": len(some)}
            logger.warning(
                "The vectors of %(assets)d images in generation %(generation)d are gone, and are made again.",
                extra,
                extra=extra,
            )
    return len(some)
