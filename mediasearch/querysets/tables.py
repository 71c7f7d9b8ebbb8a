"""The smaller tables: vectors, generations, pauses, counters and files to delete."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING

from django.db import Error, connections, transaction
from django.db.models.functions import Now

from mediasearch.querysets.base import StoredQuerySet

logger = logging.getLogger(__name__)

if TYPE_CHECKING:
    from mediasearch.models import Discard, Embedding, Generation, Pause, Stray, Tally  # noqa: F401

_PROMISED = timedelta(days=1)
"""How long a stored file waits for the row that is to have it."""


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


class StrayQuerySet(StoredQuerySet["Stray"]):
    """Queues on which messages of another site were met."""

    def note(self, queue: str) -> None:
        """Count a message; where the database takes no note of it, go on without."""
        try:
            with transaction.atomic(self.db), connections[self.db].cursor() as cursor:
                cursor.execute(
                    f"INSERT INTO {self.model._meta.db_table} AS stray (queue, number, last_at)"
                    " VALUES (%s, 1, statement_timestamp())"
                    " ON CONFLICT (queue) DO UPDATE SET number = stray.number + 1, last_at = excluded.last_at"
                    " RETURNING number",
                    [queue],
                )
                (number,) = cursor.fetchone()
        except Error as error:
            logger.warning("A message of another site on the queue %s could not be noted: %s", queue, error)
            return
        if number & (number - 1) == 0:  # The first, second, fourth, eighth...
            extra = {"event": "stray", "queue": queue, "number": number}
            logger.warning("Messages of another site came to the queue %s, %d so far.", queue, number, extra=extra)

    def recent(self, seconds: float) -> StrayQuerySet:
        return self.filter(last_at__gt=Now() - timedelta(seconds=seconds)).order_by("queue")


class DiscardQuerySet(StoredQuerySet["Discard"]):
    """Files that may be of no more use."""

    def promise(self, name: str) -> None:
        """Write down a name that a row is to have within a day, before there is a file."""
        self.create(name=name, due_at=Now() + _PROMISED)

    def hasten(self, names: Iterable[str]) -> None:
        """Have files deleted soon that no row took."""
        self.filter(name__in=list(names)).update(due_at=Now())

    def due(self) -> DiscardQuerySet:
        return self.filter(due_at__lte=Now())
