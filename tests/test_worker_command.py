"""The worker without Celery, in processes of its own."""

from __future__ import annotations

import io
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from django.core.files.base import ContentFile
from django.core.management import CommandError, call_command

import mediasearch
from mediasearch.indexing import generations
from mediasearch.models import Asset, Embedding, Generation, Job
from tests.conftest import MakeAsset, picture
from tests.live import CommandWorker, until

pytestmark = pytest.mark.django_db(transaction=True)
Start = Callable[..., CommandWorker]


@pytest.fixture
def start(transactional_db: None, tmp_path: Path, settings: Any) -> Iterator[Start]:
    settings.MEDIASEARCH = settings.MEDIASEARCH | {"DOORBELL": "postgresql"}
    workers: list[CommandWorker] = []

    def begin(**environ: str) -> CommandWorker:
        workers.append(CommandWorker(tmp_path, **environ))
        workers[-1].wait_ready()
        until(lambda: Generation.objects.active(), f"no generation was made: {workers[-1].said()}")
        return workers[-1]

    yield begin
    for worker in workers:
        worker.stop()
    for generation in Generation.objects.all():
        generations.drop_indexes(generation)


def upload(colour: str) -> Asset:
    return Asset.objects.create(file=ContentFile(picture(colour), name=f"{colour}.png"))


def finished() -> bool:
    return Job.objects.exists() and not Job.objects.unfinished().exists()


def test_worker__indexes_uploads_and_ends_when_asked(start: Start) -> None:
    worker = start()
    red = upload("red")
    upload("blue")
    until(finished, "an upload was not indexed")
    assert mediasearch.search("red")[0].asset == red
    processes = worker.pool_processes()
    worker.process.send_signal(signal.SIGTERM)
    assert worker.process.wait(20) == 0
    assert not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in processes)


def test_worker__a_process_that_is_killed_is_started_again(start: Start) -> None:
    worker = start()
    killed = worker.pool_processes()
    for process in killed:
        process.kill()
    until(lambda: len(set(worker.pool_processes()) - set(killed)) == 2, "they were not started again")
    upload("red")
    until(finished, "an upload was not indexed")


def test_worker__its_processes_do_not_outlive_it(start: Start) -> None:
    worker = start()
    processes = worker.pool_processes()
    worker.process.kill()
    worker.process.wait()
    until(lambda: not any(process.is_running() for process in processes), "a process lives on without its parent")


def test_worker__until_done(active_generation: Generation, make_asset: MakeAsset) -> None:
    asset = make_asset("red")
    call_command("mediasearch_worker", until_done=True)
    assert Embedding.objects.filter(asset=asset).exists()
    assert finished()


def test_worker__a_senseless_poll() -> None:
    with pytest.raises(CommandError, match="above zero"):
        call_command("mediasearch_worker", poll=0.0)


def test_retry__says_how_many(make_asset: MakeAsset) -> None:
    make_asset()
    Job.objects.filter(stage="read").update(state="failed", error="tesseract was missing")
    Job.objects.filter(stage="inspect").update(state="failed", error="No disk")
    said = io.StringIO()
    call_command("mediasearch_retry", error="Tesseract", dry_run=True, stdout=said)
    assert Job.objects.filter(state="failed").count() == 2
    call_command("mediasearch_retry", error="Tesseract", stdout=said)
    assert said.getvalue().splitlines()[1] == "1 failed jobs will be tried again."
    assert Job.objects.get(state="failed").stage == "inspect"
