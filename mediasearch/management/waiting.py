"""Why work that a command waits for is not done: each reason is said once, and now and then again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from django.db.models import F, Min
from django.db.models.functions import Now

from mediasearch.indexing import status
from mediasearch.models import EMBEDS, Generation, Job

STANDSTILL, AGAIN = 10.0, 300.0
"""Seconds without progress between two looks for a reason, and after which a reason is said again."""


class Reasons:
    """Says why nothing more of a generation gets done."""

    def __init__(self, generation: Generation, say: Callable[[str], object]) -> None:
        self._generation, self._say = generation, say
        self._left: int | None = None
        self._looked_at = time.monotonic()
        self._said_at: dict[str, float] = {}

    def look(self, left: int) -> None:
        """Note how many jobs are left; where these have not become fewer for a while, say why."""
        now = time.monotonic()
        if left != self._left:
            self._left, self._looked_at = left, now
        elif left and now - self._looked_at >= STANDSTILL:
            self._looked_at = now
            for kind, sentence in self._reasons():
                self.say(kind, sentence)

    def say(self, kind: str, sentence: str) -> None:
        """Say a sentence, unless one of its kind was said not long ago."""
        now = time.monotonic()
        if now - self._said_at.get(kind, -AGAIN) >= AGAIN:
            self._said_at[kind] = now
            self._say(f"Waiting: {sentence}")

    def _reasons(self) -> Iterator[tuple[str, str]]:
        for alarm in status.status().alarms:
            if alarm.kind == "silent" and alarm.stage in EMBEDS:
                yield f"silent {alarm.stage}", alarm.sentence
        jobs = Job.objects.primary().filter(generation=self._generation)
        later = jobs.filter(state=Job.State.PENDING, due_at__gt=Now(), attempts__gt=0).order_by()
        wait = later.aggregate(wait=Min(F("due_at") - Now()))["wait"]
        if wait is not None and not jobs.due().exists() and not jobs.filter(state=Job.State.RUNNING).exists():
            error = later.order_by("due_at").values_list("error", flat=True).first()
            told = f"{later.count():,} jobs failed and are tried again, the next in {wait.total_seconds():.0f} s."
            yield "later", f"{told} {error}"
