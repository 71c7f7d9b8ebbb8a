from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.db import connection, transaction
from kombu.exceptions import OperationalError

from mediasearch import identity
from mediasearch.features import remote
from mediasearch.indexing import doorbell
from mediasearch.models import Asset, Generation
from tests.conftest import MakeAsset, picture

PUBLISH = doorbell._publish


@pytest.fixture
def rung(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    settle()  # What an earlier test rang may still be on its way.
    heard: list[str] = []
    monkeypatch.setattr(doorbell, "_publish", heard.append)
    return heard


def settle() -> None:
    doorbell._ringer().flush()


def rings(callbacks: list[Any]) -> int:
    """Return how many of a transaction's callbacks are to ring; a saved row has one that does not."""
    return sum(callback.__qualname__.startswith(doorbell.ring_on_commit.__name__) for callback in callbacks)


@pytest.mark.django_db
def test_ring_on_commit__once_for_a_transaction(
    make_asset: MakeAsset, rung: list[str], django_capture_on_commit_callbacks: Any
) -> None:
    with django_capture_on_commit_callbacks(execute=True) as callbacks:
        for _ in range(5):
            make_asset()
        settle()
        assert rung == []
    settle()
    assert rings(callbacks) == 1
    assert rung == ["mediasearch.embed", "mediasearch.read"]


@pytest.mark.django_db
def test_ring_on_commit__not_for_a_category(
    make_asset: MakeAsset, rung: list[str], django_capture_on_commit_callbacks: Any
) -> None:
    asset = make_asset()
    with django_capture_on_commit_callbacks(execute=True) as callbacks:
        asset.category = "New"
        asset.save()
    settle()
    assert rings(callbacks) == 0
    assert rung == []


@pytest.mark.django_db(transaction=True)
def test_ring_on_commit__not_after_a_rollback(rung: list[str]) -> None:
    with transaction.atomic():
        Asset.objects.create(file=ContentFile(picture(), name="a.png"))
        transaction.set_rollback(True)
    settle()
    assert rung == []


def test_ring__never_waits_for_the_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()
    monkeypatch.setattr(doorbell, "_publish", lambda queue: release.wait(10))
    started = time.monotonic()
    for _ in range(100):
        doorbell.ring(["mediasearch.read"])
    assert time.monotonic() - started < 0.5
    release.set()
    settle()


def test_ring__many_become_few(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[str] = []

    def slowly(queue: str) -> None:
        time.sleep(0.05)
        heard.append(queue)

    monkeypatch.setattr(doorbell, "_publish", slowly)
    for _ in range(100):
        doorbell.ring(["mediasearch.read"])
    settle()
    assert 1 <= len(heard) <= 3


@pytest.mark.django_db(transaction=True)
def test_ring__eager_celery_does_the_work_at_once(
    active_generation: Generation, make_asset: MakeAsset, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setitem(doorbell.current_app.conf, "task_always_eager", True)
        asset = make_asset("red")
    assert set(asset.jobs.values_list("state", flat=True)) == {"done"}


@pytest.mark.django_db
def test_publish__a_broker_that_is_down_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise OperationalError("connection refused")

    monkeypatch.setattr(doorbell.current_app, "send_task", refuse)
    PUBLISH("mediasearch.read")
    assert "the sweep will ring again" in caplog.text


@pytest.mark.django_db(transaction=True)
def test_ring_on_commit__postgresql_notifies_with_the_commit(settings: Any, rung: list[str]) -> None:
    settings.MEDIASEARCH = settings.MEDIASEARCH | {"DOORBELL": "postgresql"}
    listener = connection.copy()
    listener.ensure_connection()
    try:
        listener.connection.execute(f"LISTEN {doorbell.CHANNEL}")
        with transaction.atomic():
            for _ in range(3):
                Asset.objects.create(file=ContentFile(picture(), name="a.png"))
            assert list(listener.connection.notifies(timeout=0.2)) == []
        heard = [notify.payload for notify in listener.connection.notifies(timeout=2, stop_after=1)]
        assert heard == ["mediasearch.embed,mediasearch.read"]
        assert list(listener.connection.notifies(timeout=0.2)) == []
    finally:
        listener.close()
    assert rung == []


def test_ring__a_process_rings_a_queue_ten_times_a_second_at_most(rung: list[str]) -> None:
    end = time.monotonic() + 1
    while time.monotonic() < end:
        doorbell.ring(["mediasearch.read"])
        time.sleep(0.001)
    settle()
    assert 2 <= len(rung) <= 12


def test_concerns__one_of_the_queues_that_a_notification_names() -> None:
    assert doorbell.concerns("mediasearch.embed,mediasearch.read", ["mediasearch.read"])
    assert not doorbell.concerns("mediasearch.embed", ["mediasearch.read"])
    assert not doorbell.concerns("", ["mediasearch.read"])


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("error", [ConnectionRefusedError(), RuntimeError("MISCONF Errors writing to the AOF file")])
def test_publish__whatever_the_broker_raises_the_next_ring_is_tried(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def refuse(task: str, *args: Any, **options: Any) -> None:
        asked.append(task)
        raise error

    monkeypatch.setattr(doorbell.current_app, "send_task", refuse)
    monkeypatch.setattr(doorbell, "_publish", PUBLISH)
    for _ in range(2):
        doorbell._ringer().ring(["mediasearch.read"])
        settle()
    assert asked == [doorbell.DRAIN] * 2


@pytest.mark.django_db
def test_publish__bears_the_mark_of_the_site_and_goes_to_its_queue(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.MEDIASEARCH = settings.MEDIASEARCH | {"QUEUE_PREFIX": "shop"}
    sent: list[tuple[str, list[str], str, dict[str, str]]] = []

    def send(task: str, arguments: list[str], *, queue: str, headers: dict[str, str], **_: Any) -> None:
        sent.append((task, arguments, queue, headers))

    monkeypatch.setattr(doorbell.current_app, "send_task", send)
    for queue in sorted(doorbell.every_queue()):
        PUBLISH(queue)
    mark = {remote.HEADER: identity.of_database("default")}
    assert sent == [
        (doorbell.DRAIN, ["shop.embed"], "shop.embed", mark),
        (doorbell.WARM, [], "shop.query", mark),
        (doorbell.DRAIN, ["shop.read"], "shop.read", mark),
    ]
