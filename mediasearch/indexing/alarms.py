"""What needs a person: told from the numbers alone, so that every page and probe says the same."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import UTC

from mediasearch import conf
from mediasearch.indexing import doorbell
from mediasearch.indexing.figures import Alarm, GenerationStatus, StageStatus
from mediasearch.models import Generation, Stray

QUIET = 50.0
"""Seconds without a sign of life after which a queue is deserted; a probe every ten tells within the minute."""
LONG_QUIET = 300.0
"""The same for a stage of a queue whose other stages are being done."""


def alarms(
    stages: Sequence[StageStatus], generations: Sequence[GenerationStatus], assets: int, strays: Sequence[Stray]
) -> list[Alarm]:
    """Return what is wrong, the most urgent first."""
    return [
        *_silent(stages),
        *_paused(stages),
        *_no_generation(generations, assets),
        *_index(generations),
        *_foreign(strays),
        *_failed(stages),
    ]


def _silent(stages: Sequence[StageStatus]) -> Iterable[Alarm]:
    """Stages with work that nobody is at.

    A queue's workers take its stages in turn, so one of them may wait while another has a long batch: the whole
    queue must be quiet, or the stage for very long.
    """
    for queue, names in doorbell.queues().items():
        own = [s for s in stages if s.stage in names]
        queue_quiet = min(map(_quiet, own), default=math.inf)
        for s in own:
            waits = max(s.oldest_wait or 0.0, _quiet(s) if s.running else 0.0)
            if waits >= QUIET and (queue_quiet >= QUIET or min(waits, _quiet(s)) >= LONG_QUIET):
                long = "five minutes or longer" if s.last_sign is None else f"{s.last_sign:.0f} s"
                yield Alarm(
                    "silent",
                    f"No worker is at work on stage {s.stage}: {s.due + s.running:,} of its jobs should be done, and"
                    f" none was claimed or finished for {long}. Start `celery -A yoursite worker -Q {queue}` or"
                    " `manage.py mediasearch_worker`.",
                    s.stage,
                )


def _quiet(s: StageStatus) -> float:
    return math.inf if s.last_sign is None else s.last_sign


def _paused(stages: Sequence[StageStatus]) -> Iterable[Alarm]:
    for s in stages:
        if s.paused:
            since = s.paused.since.astimezone(UTC)
            yield Alarm(
                "paused", f"Stage {s.stage} is paused since {since:%Y-%m-%d %H:%M} UTC.", s.stage, s.paused.reason
            )


def _no_generation(generations: Sequence[GenerationStatus], assets: int) -> Iterable[Alarm]:
    if assets and not any(g.state == Generation.State.ACTIVE for g in generations):
        queue = conf.settings().queue("embed")
        yield Alarm(
            "no-generation",
            "There are images, but no active generation of vectors: searches find texts alone. Start"
            f" `celery -A yoursite worker -Q {queue}`, or run `manage.py mediasearch_reindex`.",
        )


def _index(generations: Sequence[GenerationStatus]) -> Iterable[Alarm]:
    """Told where searches suffer: those of up to EXACT_SCOPE pictures use no index."""
    for g in generations:
        if g.flaws and g.state == Generation.State.ACTIVE and g.images > conf.settings().exact_scope:
            remedy = "Searches are slow until `manage.py mediasearch_indexes --repair` has mended it."
            yield Alarm("index", " ".join([*g.flaws, remedy]))


def _foreign(strays: Sequence[Stray]) -> Iterable[Alarm]:
    for stray in strays:
        last = stray.last_at.astimezone(UTC)
        yield Alarm(
            "foreign",
            f"Another site, or a worker of an older version, shares the queue {stray.queue}: {stray.number:,} messages"
            f" were refused, the last at {last:%Y-%m-%d %H:%M} UTC. Each site takes some that are for the other, whose"
            " searches then go without vectors and whose work waits for a sweep. Give each site a"
            ' MEDIASEARCH["QUEUE_PREFIX"], or a database of the broker\'s, of its own.',
        )


def _failed(stages: Sequence[StageStatus]) -> Iterable[Alarm]:
    if told := ", ".join(f"{s.failed} of stage {s.stage}" for s in stages if s.failed):
        sentence = f"Jobs have failed for good: {told}. See to what they say, then try them again in the admin."
        yield Alarm("failed", sentence)
