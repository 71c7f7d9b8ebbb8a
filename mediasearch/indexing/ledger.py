"""The ledger of what is owed: claimed under a lease, settled under its token.

Every time in here is the database's own, so that a worker's clock is no part of it.
"""

from __future__ import annotations

import logging
import uuid
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db import connections, router, transaction
from django.db.models import F, QuerySet
from django.db.models.functions import Now

from mediasearch import conf
from mediasearch.exceptions import MediaSearchError, Refused, Unavailable
from mediasearch.indexing import clock, doorbell, lacking, losses, owners
from mediasearch.models import Asset, Generation, Job, Pause, Stage, Tally
from mediasearch.querysets import JobQuerySet

logger = logging.getLogger(__name__)
SWEEP_LOCK = 0x6D656469
LOCK_SECONDS = 2
"""How long a batch that is being settled waits for rows other than its own."""
_AT_ONCE = 500
_TRIES = 3


@dataclass(frozen=True, slots=True)
class Claim:
    """A job that is ours until its lease ends."""

    job: int
    asset: int
    stage: Stage
    generation: int | None
    token: uuid.UUID
    attempts: int
    suspect: bool = False
    """Was it lost in a crash before? Then it is the only claim of its batch."""
    priority: int = Job.UPLOAD
    afresh: bool = False
    """Must it be computed, even where another asset has the same file?"""


@dataclass(frozen=True, slots=True)
class Settlement:
    """What became of a batch."""

    done: int
    locked: tuple[Claim, ...] = ()
    """Claims that are left, since another transaction holds their rows."""


def urgency(stages: Sequence[Stage]) -> dict[Stage, int]:
    """Return the priority of the most urgent due job of each stage; a stage that has none, or rests, is left out."""
    table, pauses = Job._meta.db_table, Pause._meta.db_table
    with connections[_database()].cursor() as cursor:
        cursor.execute(
            f"""
            SELECT asked.stage, first.priority
            FROM unnest(%s::text[]) AS asked (stage), LATERAL (
                SELECT priority FROM {table}
                WHERE state = 'pending' AND stage = asked.stage AND due_at <= statement_timestamp()
                ORDER BY priority, due_at, id LIMIT 1) AS first
            WHERE NOT EXISTS (SELECT 1 FROM {pauses} AS pause
                              WHERE pause.stage = asked.stage AND until > statement_timestamp())
            """,
            [[str(stage) for stage in stages]],
        )
        return {Stage(stage): priority for stage, priority in cursor.fetchall()}


def claim(stage: Stage, limit: int) -> list[Claim]:
    """Take up to `limit` due jobs of a stage and one generation, the most urgent first.

    A job that was lost in a crash before is taken alone, in its turn.
    """
    for _ in range(_TRIES):
        first = _most_urgent(stage)
        if first is None:
            return []
        if claims := _claim(stage, limit, *first):
            return claims
    return []  # Others were quicker each time, or the stage is paused.


def _most_urgent(stage: Stage) -> tuple[bool, int | None] | None:
    """Is the first due job a suspect, and which generation is it for?"""
    due = Job.objects.primary().due().filter(stage=stage).order_by("priority", "due_at", "pk")
    return due.values_list("suspect", "generation").first()


def _claim(stage: Stage, limit: int, suspect: bool, generation: int | None) -> list[Claim]:
    token = owners.token()
    table, pauses = Job._meta.db_table, Pause._meta.db_table
    with connections[_database()].cursor() as cursor:
        cursor.execute(
            f"""
            UPDATE {table} SET state = 'running', attempts = attempts + 1, token = %s,
                   lease_until = clock_timestamp() + %s::interval
            -- An array is made once; a plain subselect may be run again for each row, and so lock more than its LIMIT.
            WHERE id = ANY (ARRAY(
                SELECT id FROM {table}
                WHERE state = 'pending' AND stage = %s AND due_at <= clock_timestamp()
                  AND suspect = %s AND generation_id IS NOT DISTINCT FROM %s
                  AND NOT EXISTS (SELECT 1 FROM {pauses} WHERE stage = %s AND until > clock_timestamp())
                ORDER BY priority, due_at, id LIMIT %s FOR UPDATE SKIP LOCKED))
            RETURNING id, asset_id, generation_id, attempts, suspect, priority, afresh
            """,
            [
                token,
                f"{conf.settings().lease_seconds} seconds",
                stage,
                suspect,
                generation,
                stage,
                1 if suspect else limit,
            ],
        )
        rows = cursor.fetchall()
    return [Claim(job, asset, stage, gen, token, *others) for job, asset, gen, *others in sorted(rows)]


def renew(claims: Sequence[Claim]) -> None:
    """Extend the lease of claims that are still ours."""
    if claims:
        lease = Now() + timedelta(seconds=conf.settings().lease_seconds)
        with transaction.atomic(using=_database()):
            _rows(_free(claims)).update(lease_until=lease)


def settle(
    claims: Sequence[Claim],
    results: Sequence[Any],
    write: Callable[[list[tuple[Claim, Any]]], None],
) -> Settlement:
    """Write results and what became of their jobs, in one transaction that waits for nobody's row.

    A result is a value for `write`, a Skip, or the error that the stage met; one that is nobody's fault gives the claim
    back, to come again alone. What is no longer ours, because its lease ended or its input changed, is dropped. Claims
    whose asset or job another transaction holds are left as they are and returned.
    """
    with transaction.atomic(using=_database()), _short_waits():
        # Assets before jobs, as whoever saves an asset locks them: two orders would be a deadlock.
        assets = Asset.objects.primary().among([c.asset for c in claims])
        free = set(assets.lock(skip_locked=True))
        held = set(_free([c for c in claims if c.asset in free]))
        ours = [(c, r) for c, r in zip(claims, results, strict=True) if c.job in held]
        ends = [_close_one(c, r) for c, r in ours if isinstance(r, MediaSearchError | Skip)]
        outcomes = Counter(filter(None, ends))
        done = [(c, r) for c, r in ours if not isinstance(r, MediaSearchError | Skip)]
        if done:
            write(done)
            _close([c for c, _ in done], Job.State.DONE)
            outcomes["done"] = len(done)
        if ours:
            Tally.objects.primary().count_up(claims[0].stage, outcomes)
        left = set(_ours([c for c in claims if c.job not in held]).values_list("pk", flat=True))
    return Settlement(len(done), tuple(c for c in claims if c.job in left))


def _close_one(c: Claim, result: MediaSearchError | Skip) -> str:
    """Write that a job came to no value; return the outcome to count, "" for a claim that was given back."""
    if isinstance(result, Skip):
        _close([c], Job.State.SKIPPED, result.reason)
        return "skipped"
    if isinstance(result, Unavailable):
        release([c], str(result), suspect=True)
        _log_error(c, result, final=False)
        return ""
    final = isinstance(result, Refused) or c.attempts >= conf.settings().max_claims
    if final:
        _close([c], Job.State.FAILED, str(result))
    else:
        _retry(c, str(result))
    _log_error(c, result, final=final)
    return "failed" if final else "retried"


@contextmanager
def _short_waits() -> Iterator[None]:
    """Wait no longer than LOCK_SECONDS for a lock that was not asked for first, until the `with` ends."""
    with connections[_database()].cursor() as cursor:
        cursor.execute("SELECT current_setting('lock_timeout')")
        (before,) = cursor.fetchone()
        cursor.execute("SELECT set_config('lock_timeout', %s, true)", [f"{LOCK_SECONDS}s"])
        yield
        cursor.execute("SELECT set_config('lock_timeout', %s, true)", [before])  # A caller's transaction goes on.


@dataclass(frozen=True, slots=True)
class Skip:
    """There is nothing for this stage to do, and why."""

    reason: str


def release(claims: Sequence[Claim], reason: str, *, suspect: bool = False, wait: float = 0.0) -> None:
    """Give claims back unused, as if they had never been made; as suspects, each comes again alone.

    They are due again in `wait` seconds.
    """
    with transaction.atomic(using=_database()):
        _rows(_free(claims)).update(
            state=Job.State.PENDING, attempts=F("attempts") - 1, token=None, lease_until=None, error=reason,
            due_at=Now() + timedelta(seconds=wait), **({"suspect": True} if suspect else {}),
        )  # fmt: skip


def suspect(claims: Sequence[Claim], reason: str) -> None:
    """Give back claims that came to grief together: each is tried again alone, so that only the culprit fails."""
    with transaction.atomic(using=_database()):
        held = set(_free(claims))
        ours = [c for c in claims if c.job in held]
        spent = [c for c in ours if c.attempts >= conf.settings().max_claims]
        _close(spent, Job.State.FAILED, reason)
        for c in ours:
            if c not in spent:
                # Not its fault, most likely: the first time it comes again at once.
                _retry(c, reason, suspect=True, wait=0.0 if not c.suspect else None)
        if ours:
            outcomes = {"failed": len(spent), "retried": len(ours) - len(spent)}
            Tally.objects.primary().count_up(ours[0].stage, outcomes)


def pause(stage: Stage, fault: Unavailable) -> None:
    """Rest a stage for a while, with the reason where people see it."""
    Pause.objects.primary().update_or_create(
        stage=stage,
        defaults={"reason": str(fault), "until": Now() + clock.REST},
        create_defaults={"reason": str(fault), "until": Now() + clock.REST, "since": Now()},
    )


def resume(stage: Stage) -> None:
    """Forget that a stage was paused, since it works again."""
    Pause.objects.primary().filter(stage=stage).delete()


def reindex(assets: Iterable[Asset] | QuerySet[Asset], stages: Collection[str] | None = None) -> int:
    """Owe the stages (all of them by default) to assets once more, at low priority; return how many jobs that are.

    Outside a transaction it takes some assets at a time, so that nobody waits for all of them.
    """
    if isinstance(assets, QuerySet):
        keys: Iterable[int] = assets.using(_database()).order_by().values_list("pk", flat=True)
    else:
        keys = (asset.pk for asset in assets)
    ids, owed = sorted({*keys}), 0
    for start in range(0, len(ids), _AT_ONCE):
        with transaction.atomic(using=_database()):
            some = Asset.objects.primary().among(ids[start : start + _AT_ONCE])
            some.lock()
            owed += Job.objects.primary().owe(some.only("pk"), stages, priority=Job.BACKFILL, force=True)
    return owed


def retry(jobs: QuerySet[Job] | None = None) -> int:
    """Make failed jobs due again, with all their claims back; of `jobs`, or all there are. Returns how many."""
    with transaction.atomic(using=_database()):
        chosen = (Job.objects.all() if jobs is None else jobs).using(_database()).filter(state=Job.State.FAILED)
        count = Job.objects.primary().filter(pk__in=chosen.values("pk")).requeue()
        if count:
            doorbell.ring_on_commit()
    return count


def sweep(*, thoroughly: bool = False) -> list[str]:
    """Take back what was lost and return the queues that have work which nobody fetched.

    `thoroughly` also looks for assets that were never owed anything. One process at a time sweeps; the others
    return at once.
    """
    using = _database()
    with owners.ended() as ended, transaction.atomic(using=using):
        with connections[using].cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [SWEEP_LOCK])
            if not cursor.fetchone()[0]:
                ended.clear()
                return []
        found = clock.mend(using) | losses.take_back(ended)
        if thoroughly:
            never = Asset.objects.primary().lacking_jobs()[:_AT_ONCE]
            free = Asset.objects.primary().filter(pk__in=never.values("pk")).lock(skip_locked=True)
            Job.objects.primary().owe(Asset.objects.primary().among(free).only("pk"), priority=Job.BACKFILL)
            lacking.owe_some_everywhere()
        paused = set(Pause.objects.primary().current().values_list("stage", flat=True))
        # Newer work has rung for itself.
        waiting = Job.objects.primary().due().filter(due_at__lte=Now() - timedelta(seconds=1))
        return [
            queue
            for queue, stages in doorbell.queues().items()
            if (unpaused := set(stages) - paused) & found
            or waiting.filter(stage__in=unpaused).exists()
            or (Stage.EMBED_IMAGE in stages and Generation.objects.primary().active() is None)
        ]


def _close(claims: Sequence[Claim], state: Job.State, error: str = "") -> None:
    _rows([c.job for c in claims]).update(
        state=state, error=error, token=None, lease_until=None, suspect=False, afresh=False, finished_at=Now()
    )


def _retry(c: Claim, error: str, *, suspect: bool = False, wait: float | None = None) -> None:
    if wait is None:
        wait = clock.delay(c.attempts)
    _rows([c.job]).update(
        state=Job.State.PENDING,
        error=error,
        suspect=suspect,
        token=None,
        lease_until=None,
        due_at=Now() + timedelta(seconds=wait),
    )


def _log_error(c: Claim, error: MediaSearchError, *, final: bool) -> None:
    logger.warning(
        "%s of image %d %s: %s", c.stage, c.asset, "failed" if final else "will be tried again", error,
        extra={
            "event": "failed" if final else "retried", "stage": str(c.stage), "asset": c.asset, "job": c.job,
            "generation": c.generation, "attempts": c.attempts, "reason": str(error), "fault": type(error).__name__,
        },
    )  # fmt: skip


def _ours(claims: Sequence[Claim]) -> JobQuerySet:
    tokens = {c.token for c in claims}
    return _rows([c.job for c in claims]).filter(state=Job.State.RUNNING, token__in=tokens)


def _free(claims: Sequence[Claim]) -> list[int]:
    """Lock the jobs of claims that are still ours; return their ids, without those that another transaction holds."""
    free = _ours(claims).select_for_update(skip_locked=True).order_by("pk")
    return list(free.values_list("pk", flat=True))


def _rows(ids: Sequence[int]) -> JobQuerySet:
    return Job.objects.primary().filter(pk__in=ids)


def _database() -> str:
    return router.db_for_write(Job)
