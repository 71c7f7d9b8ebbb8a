"""The main job with real parts: database, broker, workers in processes of their own."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import redis
from celery import current_app
from django.core.files.base import ContentFile
from PIL import Image

import mediasearch
from mediasearch.exceptions import Foreign
from mediasearch.features.base import Question
from mediasearch.features.remote import HEADER, Remote
from mediasearch.indexing import doorbell, generations
from mediasearch.models import Asset, Embedding, Generation, Job, Stray
from tests.conftest import PUBLISH, picture
from tests.live import Worker, until

pytestmark = pytest.mark.django_db(transaction=True)
PATIENT: dict[str, Any] = {
    "BACKEND": "mediasearch.features.remote.Remote",
    "OPTIONS": {"timeout": 20.0, "picture_timeout": 20.0},
}
"""A query encoder that waits for a worker which has only just started."""
INDEXING = ("mediasearch.embed", "mediasearch.read")
Start = Callable[..., Worker]


@pytest.fixture
def start(transactional_db: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Start workers, and let doorbells through."""
    monkeypatch.setattr(doorbell, "_publish", PUBLISH)
    broker = redis.Redis.from_url(os.environ["REDIS_URL"])
    broker.flushall()
    workers: list[Worker] = []

    def begin(*queues: str, **environ: str) -> Worker:
        workers.append(Worker(tmp_path, *queues, **environ))
        return workers[-1].wait_ready()

    yield begin
    doorbell._ringer().flush()
    for worker in workers:
        worker.stop()
    for generation in Generation.objects.all():
        generations.drop_indexes(generation)
    broker.close()


def upload(colour: str = "red", **fields: Any) -> Asset:
    return Asset.objects.create(file=ContentFile(picture(colour), name=f"{colour}.png"), **fields)


def active() -> bool:
    return Generation.objects.active() is not None


def finished(asset: Asset) -> bool:
    return asset.jobs.exists() and not asset.jobs.unfinished().exists()


def test_upload__is_found_by_what_it_shows(start: Start) -> None:
    start(*INDEXING)
    until(active, "no generation was made")
    started = time.monotonic()
    red = upload("red")
    upload("blue")
    until(lambda: len(mediasearch.search("red", weights={"image": 1})) == 2, "the upload is not found")
    assert time.monotonic() - started < 5  # By its doorbell, then, and not by the sweep alone.
    assert mediasearch.search("red")[0].asset == red
    until(lambda: finished(red), "a stage is missing")
    assert set(red.jobs.values_list("state", flat=True)) == {"done"}


def test_upload__before_any_worker_runs(start: Start) -> None:
    asset = upload("green")
    assert not active()
    start(*INDEXING)
    until(lambda: Embedding.objects.filter(asset=asset).exists(), "the picture was not embedded")
    assert mediasearch.search("green")[0].asset == asset


def test_upload__without_a_doorbell_is_found_by_the_sweep(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    start(*INDEXING)
    until(active, "no generation was made")
    monkeypatch.setattr(doorbell, "_publish", lambda queue: None)
    asset = upload("blue")
    until(lambda: finished(asset), "the sweep did not find the picture", 20)


def test_upload__a_bad_file_fails_with_its_reason(start: Start) -> None:
    start(*INDEXING)
    until(active, "no generation was made")
    bad = Asset.objects.create(file=ContentFile(b"not a picture", name="bad.png"))
    good = upload("red")
    until(lambda: finished(bad) and finished(good), "a picture is stuck")
    assert set(bad.jobs.filter(state="failed").values_list("stage", flat=True)) == {"inspect", "read", "embed_image"}
    assert not good.jobs.filter(state="failed").exists()


def test_worker__killed_in_the_middle_loses_nothing(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a dead worker held comes back when its lease is over."""
    first = start(*INDEXING)
    until(active, "no generation was made")
    for process in first.pool_processes():
        process.send_signal(signal.SIGSTOP)
    asset = upload("red")
    stuck = asset.jobs.get(stage="embed_image")
    assert stuck.state == "pending"
    for process in first.pool_processes():
        process.send_signal(signal.SIGCONT)
    first.kill()
    Job.objects.filter(pk=stuck.pk).update(state="running", attempts=1, lease_until="2020-01-01T00:00Z")
    start(*INDEXING)
    until(lambda: finished(asset), "the lost job did not come back", 20)
    stuck.refresh_from_db()
    assert (stuck.state, stuck.attempts) == ("done", 2)


def test_query_worker__encodes_for_processes_without_a_model(start: Start, settings: Any) -> None:
    start(*INDEXING)
    until(active, "no generation was made")
    red = upload("red")
    upload("blue")
    until(lambda: Embedding.objects.count() == 2, "the pictures were not embedded")
    start("mediasearch.query")
    settings.MEDIASEARCH = settings.MEDIASEARCH | {"QUERY_ENCODER": PATIENT}
    results = mediasearch.search("red")
    assert results.degraded == ()
    assert results[0].asset == red


def test_query_worker__encodes_pictures_for_processes_without_a_model(
    start: Start, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    start(*INDEXING)
    until(active, "no generation was made")
    red, blue = upload("red"), upload("blue")
    until(lambda: Embedding.objects.count() == 2, "the pictures were not embedded")
    worker = start("mediasearch.query")
    settings.MEDIASEARCH = settings.MEDIASEARCH | {"QUERY_ENCODER": PATIENT}
    for colour, expected in (("red", red), ("blue", blue)):
        results = mediasearch.search(image=picture(colour, (3_000, 2_000), "JPEG"))
        assert results.degraded == ()
        assert results[0].asset == expected
    # What is no picture ends neither the worker nor the search.
    generation = Generation.objects.get()
    question = generation.question("image")
    Generation.objects.update(input_size=2_000)  # So that this process sends more than the worker takes.
    results = mediasearch.search(image=picture("green", (2_000, 2_000)))
    assert [notice.signal for notice in results.degraded] == ["image"]
    assert "the log says why" in results.degraded[0].reason
    assert "more than a question may have" in caplog.text
    assert Remote(**PATIENT["OPTIONS"]).encode_texts(question, ["red"]).shape == (1, 16)
    assert worker.process.poll() is None


def test_query_worker__refuses_questions_and_doorbells_of_another_site(start: Start, settings: Any) -> None:
    start(*INDEXING)
    until(active, "no generation was made")
    start("mediasearch.query")
    remotely = Remote(**PATIENT["OPTIONS"])
    question = Generation.objects.get().question("image")
    assert remotely.encode_texts(question, ["red"]).shape == (1, 16)
    for foreign in (replace(question, site="another"), replace(question, fingerprint="fake/17")):
        with pytest.raises(Foreign, match="QUEUE_PREFIX"):
            remotely.encode_texts(foreign, ["red"])
    assert Stray.objects.get(queue="mediasearch.query").number == 2
    current_app.send_task(doorbell.DRAIN, ["mediasearch.read"], queue="mediasearch.read", headers={HEADER: "another"})
    until(Stray.objects.filter(queue="mediasearch.read").exists, "the doorbell was not refused")
    asset = upload("red")
    until(lambda: finished(asset), "our own doorbells are refused, too")


def test_query_worker__serves_the_queue_of_the_prefix(start: Start, settings: Any) -> None:
    settings.MEDIASEARCH = settings.MEDIASEARCH | {"QUEUE_PREFIX": "shop"}
    start("shop.embed", "shop.read", QUEUE_PREFIX="shop")
    start("shop.query", QUEUE_PREFIX="shop")
    until(active, "no generation was made")
    asset = upload("red")
    until(lambda: finished(asset), "the picture was not indexed")
    assert Remote(**PATIENT["OPTIONS"]).encode_texts(Generation.objects.get().question("image"), ["red"]).size == 16
    assert not Stray.objects.exists()


def test_query_worker__absent_the_text_answers_soon(start: Start, active_generation: Generation, settings: Any) -> None:
    remote = {"BACKEND": "mediasearch.features.remote.Remote", "OPTIONS": {"timeout": 0.5, "pause": 30.0}}
    settings.MEDIASEARCH = settings.MEDIASEARCH | {"QUERY_ENCODER": remote}
    asset = upload("red", title="red")
    started = time.monotonic()
    results = mediasearch.search("red")
    assert [hit.asset for hit in results] == [asset]
    assert "No query worker answers" in results.degraded[0].reason
    assert time.monotonic() - started < 2.5
    started = time.monotonic()
    assert len(mediasearch.search("red again")) == 1
    assert time.monotonic() - started < 0.4  # The second search does not wait for what did not answer the first.


def test_remote__no_broker(active_generation: Generation, monkeypatch: pytest.MonkeyPatch) -> None:
    from celery import current_app
    from kombu.exceptions import OperationalError

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise OperationalError("connection refused")

    monkeypatch.setattr(current_app, "send_task", refuse)
    remote, question = Remote(pause=60), Question(1, "image", {}, "fake/16")
    with pytest.raises(mediasearch.MediaSearchError, match="No query worker answers"):
        remote.encode_images(question, [Image.new("RGB", (8, 8))])
    with pytest.raises(mediasearch.MediaSearchError, match="did not answer a moment ago"):
        remote.encode_images(question, [Image.new("RGB", (8, 8))])
    with pytest.raises(mediasearch.MediaSearchError, match="No query worker answers"):
        remote.encode_texts(question, ["red"])  # A picture that takes too long closes nothing to words.


def test_remote__a_broker_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()
    monkeypatch.setattr(current_app, "send_task", lambda *args, **kwargs: release.wait(20))
    started = time.monotonic()
    with pytest.raises(mediasearch.MediaSearchError, match="No query worker answers"):
        Remote(timeout=0.3).encode_texts(Question(1, "image", {}, "fake/16"), ["red"])
    assert time.monotonic() - started < 3
    release.set()


def test_remote__without_pictures() -> None:
    with pytest.raises(mediasearch.MediaSearchError, match="switched off"):
        Remote(pictures=False).encode_images(Question(1, "image", {}, "fake/16"), [Image.new("RGB", (8, 8))])


def test_worker__a_pool_process_that_is_killed_is_replaced_soon(start: Start) -> None:
    """Several times, as Celery by itself often looks too early, and next after five seconds."""
    worker = start("mediasearch.read")
    for _ in range(4):
        until(lambda: len(worker.pool_processes()) == 1, "there is no pool process")
        (killed,) = worker.pool_processes()
        killed.kill()
        until(lambda: killed not in worker.pool_processes(), "its end was not seen", seconds=3)  # noqa: B023
