"""Vectors that are gone though the job that made them is done: they are owed again.

Nothing else would miss them: a job that is done, or remembered as done, is owed anew only when its input changes.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from django.db import router, transaction
from django.db.models import Exists, OuterRef, Q, QuerySet

from mediasearch.indexing import doorbell
from mediasearch.models import EMBEDS, Asset, Embedding, Generation, Job, Stage
from mediasearch.querysets import settled_key

logger = logging.getLogger(__name__)
CHUNK = 500
"""Assets that are looked up, and owed their vectors, in one transaction."""


def assets(generation: Generation) -> QuerySet[Asset]:
    """Return the assets whose vectors of a generation were made, and are gone.

    These have no image vector, or no row at all where only a caption was embedded.
    """
    rows = Embedding.objects.filter(asset=OuterRef("pk"), generation=generation)
    open_jobs = Job.objects.filter(
        asset=OuterRef("pk"), generation=generation, stage__in=EMBEDS, state__in=_OPEN_OR_FAILED
    )
    lacking = Q(~Exists(rows.filter(image__isnull=False)) & _made(generation, Stage.EMBED_IMAGE))
    lacking |= Q(~Exists(rows) & _made(generation, Stage.EMBED_CAPTION))
    known = Asset.objects.using(router.db_for_write(Asset))
    # The first condition leaves few to be asked about their jobs.
    return known.filter(~Exists(rows.filter(image__isnull=False)), ~Exists(open_jobs)).filter(lacking)


_OPEN_OR_FAILED = (Job.State.PENDING, Job.State.RUNNING, Job.State.FAILED)


def _made(generation: Generation, stage: Stage) -> Q:
    """Was there something to embed, and was that done? A job that is there counts, and not what is remembered."""
    jobs = Job.objects.filter(asset=OuterRef("pk"), generation=generation, stage=stage)
    key = settled_key(stage, generation.pk)
    remembered = Q(settled__has_key=key) & ~Q(**{f"settled__{key}": ""})
    return Q(Exists(jobs.filter(state=Job.State.DONE).exclude(input_key=""))) | Q(~Exists(jobs) & remembered)


def owe(generation: Generation) -> int:
    """Owe all vectors of a generation that are gone, at back-fill priority; return how many assets lack them."""
    owed, last = 0, 0
    while some := _owe_some(generation, last):
        owed, last = owed + len(some), some[-1].pk
    return owed


def owe_some_everywhere() -> int:
    """The same for up to CHUNK assets of each living generation."""
    living = Generation.objects.using(router.db_for_write(Generation)).living()
    return sum(len(_owe_some(generation)) for generation in living)


def _owe_some(generation: Generation, after: int = 0) -> Sequence[Asset]:
    """Owe vectors to the next of the assets that lack them, and return these."""
    using = router.db_for_write(Job)
    with transaction.atomic(using=using):
        # Held, as neither an asset nor a generation may be deleted between the question and the writing.
        if generation not in Generation.objects.using(using).hold_living():
            return []
        free = assets(generation).select_for_update(skip_locked=True, no_key=True)
        some = list(free.filter(pk__gt=after).order_by("pk")[:CHUNK])
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
    return some
