"""Each of Celery's pools, with real workers: all sweep, prune and calibrate, whether or not they have processes."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
import redis
from django.core.files.base import ContentFile
from django.utils import timezone

from mediasearch import tasks
from mediasearch.indexing import generations
from mediasearch.models import Asset, Generation, Job
from tests.conftest import MakeAsset, picture
from tests.live import Worker, until

pytestmark = pytest.mark.django_db(transaction=True)
INDEXING = ("mediasearch.embed", "mediasearch.read")
POOLS = ("solo", "threads", "gevent", "prefork")
Start = Callable[..., Worker]


@pytest.fixture
def start(transactional_db: None, tmp_path: Path) -> Iterator[Start]:
    """Start workers with a pool each; nobody here rings for what is stored."""
    broker = redis.Redis.from_url(os.environ["REDIS_URL"])
    broker.flushall()
    workers: list[Worker] = []

    def begin(pool: str, concurrency: int = 1, **environ: str) -> Worker:
        options = ("--pool", pool, "--concurrency", str(concurrency))
        workers.append(Worker(tmp_path, *INDEXING, options=options, **environ))
        return workers[-1].wait_ready()

    yield begin
    for worker in workers:
        worker.stop()
    for generation in Generation.objects.all():
        generations.drop_indexes(generation)
    broker.close()


def upload(count: int) -> list[Asset]:
    return [Asset.objects.create(file=ContentFile(picture(f"#{n:06x}"), name=f"{n}.png")) for n in range(count)]


def finished() -> bool:
    return not Job.objects.unfinished().exists()


@pytest.mark.parametrize("pool", POOLS)
def test_pool__sweeps_prunes_and_calibrates(
    pool: str, start: Start, active_generation: Generation, make_asset: MakeAsset, index_all: Callable[[], None]
) -> None:
    make_asset("red")
    make_asset("blue")
    index_all()
    Job.objects.update(finished_at=timezone.now() - timedelta(days=400))
    worker = start(pool)
    until(lambda: not Job.objects.exists(), f"jobs that were done long ago are still there: {worker.said()}")
    until(lambda: Generation.objects.get().calibration.get("rows") == 2, f"not calibrated: {worker.said()}")
    assets = upload(5)
    until(finished, f"what nobody rang for is not swept: {worker.said()}")
    assert Job.objects.filter(asset__in=assets, state="done").exists()
    assert not Job.objects.exclude(state__in=["done", "skipped"]).exists()


@pytest.mark.parametrize("pool", POOLS)
def test_pool__ends_after_the_batches_at_hand(pool: str, start: Start, active_generation: Generation) -> None:
    upload(150)
    worker = start(pool, 1 if pool == "solo" else 3)
    until(lambda: Job.objects.filter(state="done").count() > 20, f"it does nothing: {worker.said()}")
    worker.process.send_signal(signal.SIGTERM)
    assert worker.process.wait(20) == 0, worker.said()
    assert not Job.objects.filter(state="running").exists()
    assert not finished()
    assert "Traceback" not in worker.said()


@pytest.mark.parametrize(("pool", "queues", "refused"), [
    ("eventlet", {"mediasearch.read", "celery"}, True), ("eventlet", {"mediasearch.query"}, True),
    ("eventlet", {"celery"}, False), ("gevent", {"mediasearch.read"}, False),
])  # fmt: skip
def test_pool__eventlet_is_refused(
    pool: str, queues: set[str], refused: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its own package is not installed here: Celery calls it deprecated."""
    held: set[str] = set()
    monkeypatch.setattr(tasks, "_HELD_QUEUES", held)
    kind = type("TaskPool", (), {"__module__": f"celery.concurrency.{pool}"})
    served = SimpleNamespace(amqp=SimpleNamespace(queues=SimpleNamespace(consume_from=dict.fromkeys(queues))))
    with pytest.raises(SystemExit) if refused else nullcontext():
        tasks.note_queues(instance=SimpleNamespace(pool_cls=kind, app=served))
    assert ("can't use the pool eventlet" in caplog.text) is refused
    assert held == queues
