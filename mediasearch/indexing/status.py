"""How far the work is and what stands in its way, asked of the database.

Quick with a million jobs: open work is read from partial indexes, and what is over was counted when it ended.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.db import connections, router

from mediasearch import conf
from mediasearch.indexing import clock, indexes
from mediasearch.indexing.alarms import alarms
from mediasearch.indexing.figures import Failure, GenerationStatus, Rest, StageStatus, Status
from mediasearch.models import Asset, Embedding, Generation, Job, Pause, Stage, Stray, Tally
from mediasearch.querysets import owed_stages

WINDOW = 300.0
"""Seconds over which rates are taken."""
_SHORTEST = 10.0
"""Seconds that a rate is taken over at the least, where work has only just begun."""
_PAUSE_OVER = 60.0
"""A pause is renewed while its reason lasts; one that nobody renewed for so many seconds says nothing of today."""
_STRAYS_TOLD = 3_600.0
"""Seconds for which a message of another site is told of."""
_FAILURES_READ, _FAILURES_SHOWN, _ASSETS_SHOWN = 2_000, 10, 5


def status() -> Status:
    """Ask the database how far the work is: nine statements, none of which counts what is done."""
    at, stages = _stages()
    known = Asset.objects.primary()
    assets, outdated = known.count(), known.outdated().count()
    generations = _generations(assets)
    failures = _failures() if any(s.failed for s in stages) else []
    strays = list(Stray.objects.primary().recent(_STRAYS_TOLD))
    raised = alarms(stages, generations, assets, strays)
    return Status(at, assets, outdated, stages, generations, failures, raised)


def _stages() -> tuple[datetime, list[StageStatus]]:
    outcomes: dict[str, dict[str, int]] = {}
    for stage, outcome, number in Tally.objects.primary().values_list("stage", "outcome", "number"):
        outcomes.setdefault(stage, {})[outcome] = number
    jobs, pauses = Job._meta.db_table, Pause._meta.db_table
    # statement_timestamp() and not clock_timestamp(): with that, no index on a time could be used.
    rows = _rows(
        f"""
        WITH waiting AS (
            SELECT stage, count(*) AS pending, count(*) FILTER (WHERE due_at <= statement_timestamp()) AS due,
                   min(due_at) AS oldest
            FROM {jobs} WHERE state = 'pending' GROUP BY stage
        ), held AS (
            -- What lies ahead was written before the clock was set back, and is no sign of today.
            SELECT stage, count(*) AS running,
                   max(lease_until) FILTER (WHERE lease_until <= clock_timestamp() + lease) - min(lease) AS claimed
            FROM {jobs}, (SELECT %s * interval '1 second' AS lease) AS _ WHERE state = 'running' GROUP BY stage
        ), failed AS (
            SELECT stage, count(*) AS failed FROM {jobs} WHERE state = 'failed' GROUP BY stage
        ), ended AS (
            SELECT stage, count(*) AS ended, min(finished_at) AS first, max(finished_at) AS last
            FROM {jobs} WHERE finished_at BETWEEN statement_timestamp() - %s * interval '1 second'
                                              AND statement_timestamp()
                          AND state IN ('done', 'skipped', 'failed')
                          AND attempts > 0 -- Nothing was done where there was nothing to do.
            GROUP BY stage
        ), ages AS (
            SELECT stage, pending, due, running, failed, ended, reason, since,
                   extract(epoch FROM statement_timestamp() - oldest)::float8 AS oldest,
                   extract(epoch FROM statement_timestamp() - first)::float8 AS first,
                   extract(epoch FROM statement_timestamp() - greatest(last, claimed))::float8 AS sign,
                   extract(epoch FROM statement_timestamp() - until)::float8 AS over
            FROM unnest(%s::text[]) AS stage
                 LEFT JOIN waiting USING (stage) LEFT JOIN held USING (stage) LEFT JOIN failed USING (stage)
                 LEFT JOIN ended USING (stage) LEFT JOIN {pauses} USING (stage)
        )
        SELECT *, statement_timestamp() AS at FROM ages
        """,
        [conf.settings().lease_seconds, WINDOW, [str(stage) for stage in Stage]],
    )
    by_name = {row["stage"]: _stage(row, outcomes.get(row["stage"], {})) for row in rows}
    shown = [by_name[stage] for stage in Stage]
    owed = set(owed_stages())
    return rows[0]["at"], [s for s in shown if s.stage in owed or s.pending or s.running or s.failed or s.outcomes]


def _stage(row: Mapping[str, Any], outcomes: Mapping[str, int]) -> StageStatus:
    pending, due, running = row["pending"] or 0, row["due"] or 0, row["running"] or 0
    rate = row["ended"] / max(row["first"], _SHORTEST) if row["ended"] else 0.0
    left = pending + running
    paused = row["over"] is not None and row["over"] < _PAUSE_OVER
    # A pause is written when a worker has tried in vain: that one is alive.
    tried = row["over"] + clock.REST.total_seconds() if paused else None
    signs = [age for age in (row["sign"], tried) if age is not None]
    return StageStatus(
        stage=row["stage"],
        pending=pending,
        due=due,
        retrying=pending - due,
        running=running,
        failed=row["failed"] or 0,
        done=outcomes.get("done", 0),
        skipped=outcomes.get("skipped", 0),
        outcomes=outcomes,
        oldest_wait=row["oldest"] if due else None,
        rate=rate,
        eta=(left / rate if rate else None) if left else 0.0,
        last_sign=max(min(signs), 0.0) if signs else None,
        paused=Rest(row["reason"], row["since"]) if paused else None,
    )


def _generations(assets: int) -> list[GenerationStatus]:
    """Count vectors from an index alone: all rows of a generation, less those that wait for their image vector."""
    jobs, vectors, generations = Job._meta.db_table, Embedding._meta.db_table, Generation._meta.db_table
    # One branch for each state, as each has a partial index.
    open_jobs = " UNION ALL ".join(
        f"SELECT asset_id FROM {jobs} WHERE state = '{state}' AND stage = 'embed_image' AND generation_id = living.id"
        for state in ("pending", "running", "failed")
    )
    rows = _rows(
        f"""
        SELECT id, state, fingerprint, calibration ->> 'recall' AS recall, calibration ->> 'recall_at' AS recall_at,
               calibration ->> 'measured_at' AS measured_at,
               (SELECT count(*) FROM {vectors} WHERE generation_id = living.id)
               - (SELECT count(*) FROM {vectors} JOIN ({open_jobs}) AS lacking USING (asset_id)
                  WHERE generation_id = living.id AND image IS NULL) AS images,
               (SELECT count(*) FROM {jobs} WHERE state = 'failed' AND stage = 'embed_image'
                                              AND generation_id = living.id) AS failed
        FROM {generations} AS living WHERE state IN ('active', 'building') ORDER BY id
        """
    )
    flaws: dict[int | None, list[str]] = {}
    for flaw in indexes.flaws(Generation.objects.primary().living(), indexes.found()) if rows else ():
        flaws.setdefault(flaw.generation, []).append(flaw.sentence)
    return [
        GenerationStatus(
            id=row["id"],
            state=row["state"],
            encoder=row["fingerprint"],
            images=row["images"],
            failed=row["failed"],
            coverage=row["images"] / assets if assets else None,
            recall=None if row["recall"] is None else float(row["recall"]),
            recall_at=None if row["recall_at"] is None else int(row["recall_at"]),
            measured_at=row["measured_at"],
            flaws=flaws.get(row["id"], []),
        )
        for row in rows
    ]


def _failures() -> list[Failure]:
    """The most frequent reasons among the newest failures of each stage."""
    rows = _rows(
        f"""
        SELECT (array_agg(error ORDER BY id DESC))[1] AS error, count(*) AS count,
               array_agg(DISTINCT stage) AS stages, (array_agg(asset_id ORDER BY id DESC))[1] AS example,
               (array_agg(DISTINCT asset_id))[1:{_ASSETS_SHOWN}] AS assets
        FROM unnest(%s::text[]) AS one, LATERAL (
            SELECT id, stage, asset_id, error FROM {Job._meta.db_table}
            WHERE state = 'failed' AND stage = one ORDER BY id DESC LIMIT {_FAILURES_READ}) AS newest
        GROUP BY regexp_replace(error, '''[^'']*''|[0-9]+', '', 'g')
        ORDER BY count DESC, error LIMIT {_FAILURES_SHOWN}
        """,
        [[str(stage) for stage in Stage]],
    )
    return [Failure(**row) for row in rows]


def _rows(statement: str, parameters: list[Any] | None = None) -> list[dict[str, Any]]:
    with connections[_database()].cursor() as cursor:
        cursor.execute(statement, parameters)
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def _database() -> str:
    return router.db_for_write(Job)
