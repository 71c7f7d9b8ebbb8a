"""Everything through PgBouncer in transaction mode, which hands each transaction to another session."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis
from django.core.files.base import ContentFile
from django.core.management import call_command
from django.db import connection

import mediasearch
from mediasearch.checks import database
from mediasearch.indexing import doorbell, generations, sessions
from mediasearch.models import Asset, Generation, Job
from tests import pooler
from tests.conftest import PUBLISH, picture
from tests.live import CommandWorker, Worker, until
from tests.pooler import Pooler

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(pooler.BINARY is None, reason="PgBouncer is not installed (apt-get install pgbouncer)"),
]
WIDER = json.dumps({"BACKEND": "mediasearch.features.fake.FakeEncoder", "OPTIONS": {"dimensions": 24}})
SETTINGS = (
    "maintenance_work_mem", "max_parallel_maintenance_workers", "min_parallel_table_scan_size", "statement_timeout",
    "enable_seqscan", "enable_indexscan",
)  # fmt: skip


@pytest.fixture
def pooled(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pooler]:
    """A pooler, and this process connected through it."""
    running = Pooler()
    with monkeypatch.context() as patch:
        patch.setitem(connection.settings_dict, "HOST", str(running.folder))
        patch.setitem(connection.settings_dict, "PORT", "6432")
        connection.close()
        yield running
        connection.close()
    for generation in Generation.objects.all():
        generations.drop_indexes(generation)
    running.stop()


@pytest.fixture
def start(pooled: Pooler, tmp_path: Path) -> Iterator[Callable[..., Worker]]:
    workers: list[Worker] = []

    def begin(kind: type[Worker], *queues: str) -> Worker:
        workers.append(kind(tmp_path, *queues, DATABASE_URL=pooled.url))
        workers[-1].wait_ready()
        until(lambda: Generation.objects.active(), f"no generation was made: {workers[-1].said()}")
        return workers[-1]

    yield begin
    for worker in workers:
        worker.stop()


def upload(colour: str) -> Asset:
    return Asset.objects.create(file=ContentFile(picture(colour), name=f"{colour}.png"), caption=colour)


def finished() -> bool:
    return Job.objects.exists() and not Job.objects.unfinished().exists()


def settings_of_sessions(url: str) -> set[tuple[str, ...]]:
    """What is set in the sessions that the pooler keeps."""
    statement = f"SELECT pg_backend_pid(), {', '.join(f'current_setting({name!r})' for name in SETTINGS)}"
    with ExitStack() as stack:  # Each in a transaction, and so in a session to itself.
        clients = [stack.enter_context(psycopg.connect(url)) for _ in range(3)]
        rows = [client.execute(statement).fetchone() for client in clients]
    assert len({row[0] for row in rows if row}) == 3
    return {tuple(row[1:]) for row in rows if row}


def check(start: Callable[..., Worker], pooled: Pooler, settings: Any) -> None:
    """Upload, search by index, change over, search again."""
    assert sessions.is_pooled(connection)
    before = settings_of_sessions(pooled.url)
    red, _, _ = upload("red"), upload("blue"), upload("green")
    until(finished, "an upload was not indexed", 60)
    assert set(Job.objects.values_list("state", flat=True)) == {"done"}
    settings.MEDIASEARCH = settings.MEDIASEARCH | {"EXACT_SCOPE": 1}
    first = Generation.objects.active()
    for _ in range(8):  # More often than psycopg takes to prepare a statement.
        results = mediasearch.search("red", limit=2)
        assert (results.plan, results[0].asset) == ("hnsw", red)
    assert Asset.objects.filter(caption="red").update(title="A red thing") == 1  # With a cursor on the server.
    said = io.StringIO()
    call_command("mediasearch_reindex", encoder=WIDER, stdout=said, stderr=said)
    active = Generation.objects.active()
    assert active is not None
    assert first is not None
    assert (active.dimensions, active.calibration["recall"]) == (24, 1.0)
    results = mediasearch.search("red", limit=2)
    assert (results.plan, results[0].asset, results.outcome.generation) == ("hnsw", red, active.pk)
    call_command("mediasearch_indexes", rebuild=[], stdout=said)
    Generation.objects.filter(pk=first.pk).update(retired_at="2020-01-01T00:00Z")
    call_command("mediasearch_prune", keep=0, stdout=said)
    assert not Generation.objects.filter(pk=first.pk).exists()
    assert database.check_indexes(None, ["default"]) == []
    assert settings_of_sessions(pooled.url) == before


def test_pooler__with_celery(
    start: Callable[..., Worker], pooled: Pooler, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with redis.Redis.from_url(os.environ["REDIS_URL"]) as broker:
        broker.flushall()
    monkeypatch.setattr(doorbell, "_publish", PUBLISH)
    start(Worker, "mediasearch.embed", "mediasearch.read")
    check(start, pooled, settings)
    doorbell._ringer().flush()


def test_pooler__with_the_worker_without_a_broker(start: Callable[..., Worker], pooled: Pooler, settings: Any) -> None:
    settings.MEDIASEARCH = settings.MEDIASEARCH | {"DOORBELL": "postgresql"}
    worker = start(CommandWorker)
    check(start, pooled, settings)
    assert "got packet 'A' from server" not in pooled.said()  # A notification for which nobody listens.
    assert "Traceback" not in worker.said()
