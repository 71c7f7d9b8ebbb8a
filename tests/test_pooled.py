"""Workers that share few connections: psycopg's pool, as Django has it, of two."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import redis
from django.core.files.base import ContentFile
from django.db import connection
from django.utils import timezone

from mediasearch.indexing import generations
from mediasearch.models import Asset, Generation, Job
from tests.conftest import MakeAsset, picture
from tests.live import CommandWorker, Worker, until

pytestmark = pytest.mark.django_db(transaction=True)
QUEUES = ("mediasearch.embed", "mediasearch.read")
SETTINGS = {"DJANGO_SETTINGS_MODULE": "tests.pooled", "POOL_SIZE": "2"}
Start = Callable[..., Worker]


class OneProcess(CommandWorker):
    """Serves both queues from the very process that is started."""

    @staticmethod
    def command(*queues: str) -> list[str]:
        return [*CommandWorker.command(), *(part for queue in queues for part in ("--queue", queue))]

    def wait_ready(self, seconds: float = 60.0) -> Worker:
        return self


@pytest.fixture
def start(transactional_db: None, tmp_path: Path) -> Iterator[Start]:
    with redis.Redis.from_url(os.environ["REDIS_URL"]) as broker:
        broker.flushall()
    workers: list[Worker] = []

    def begin(kind: type[Worker], *options: str) -> Worker:
        workers.append(kind(tmp_path, *QUEUES, options=options, **SETTINGS))
        return workers[-1].wait_ready()

    yield begin
    for worker in workers:
        worker.stop()
    until(lambda: sessions() == 0, "a session that a worker left has not ended")
    for generation in Generation.objects.all():
        generations.drop_indexes(generation)


def sessions() -> int:
    """How many others work on the tests' database."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            " AND backend_type = 'client backend'"
        )
        return int(cursor.fetchone()[0])


def upload(count: int) -> None:
    for number in range(count):
        Asset.objects.create(file=ContentFile(picture(f"#{number:06x}"), name=f"{number}.png"), caption=f"{number} red")


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (Worker, ("--pool", "prefork", "--concurrency", "2")),
        (Worker, ("--pool", "threads", "--concurrency", "4")),
        (Worker, ("--pool", "gevent", "--concurrency", "4")),
        (CommandWorker, ()),
        (OneProcess, ()),
    ],
)
def test_pool_of_two__all_is_done(
    kind: type[Worker],
    options: tuple[str, ...],
    start: Start,
    active_generation: Generation,
    make_asset: MakeAsset,
    index_all: Callable[[], None],
) -> None:
    old = [make_asset("red"), make_asset("blue")]
    index_all()
    Job.objects.update(finished_at=timezone.now() - timedelta(days=400))
    worker = start(kind, *options)
    upload(60)
    until(lambda: not Job.objects.unfinished().exists(), f"not all was done: {worker.said()}", 60)
    assert set(Job.objects.values_list("state", flat=True)) <= {"done", "skipped"}
    until(lambda: not Job.objects.filter(asset__in=old).exists(), f"not pruned: {worker.said()}")
    until(lambda: Generation.objects.get().calibration, f"not calibrated: {worker.said()}")
    assert "couldn't get a connection" not in worker.said()
    assert "Traceback" not in worker.said()
