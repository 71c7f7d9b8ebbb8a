from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.db import InterfaceError, OperationalError, connection

from mediasearch.indexing import lanes, sessions, stages, worker
from mediasearch.models import Asset, Embedding, Generation, Job, Stage
from tests.conftest import MakeAsset


@pytest.mark.django_db(transaction=True)
def test_lanes__opening_computing_and_writing_overlap(
    active_generation: Generation, make_asset: MakeAsset, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the second batch is computed, the third is opened and the first is written."""
    settings.MEDIASEARCH = settings.MEDIASEARCH | {"BATCH_SIZE": 1}
    assets = [make_asset() for _ in range(3)]
    third_opened, first_written, seen = threading.Event(), threading.Event(), []
    embed = stages.EmbedImage
    open_, compute, write = embed.open, embed.compute, embed.write

    def opening(self: Any, claims: Any, its: Any, tick: Any) -> list[Any]:
        result = open_(self, claims, its, tick)
        if its == [assets[2]]:
            third_opened.set()
        return result

    def computing(self: Any, claims: Any, opened: Any) -> list[Any]:
        if claims[0].asset == assets[1].pk:
            seen.append((third_opened.wait(20), first_written.wait(20)))
        return compute(self, claims, opened)

    def writing(self: Any, done: Any) -> None:
        write(self, done)
        if done[0][0].asset == assets[0].pk:
            first_written.set()

    monkeypatch.setattr(embed, "open", opening)
    monkeypatch.setattr(embed, "compute", computing)
    monkeypatch.setattr(embed, "write", writing)
    assert worker.drain([Stage.EMBED_IMAGE]) is False
    assert seen == [(True, True)]
    assert Embedding.objects.count() == 3


@pytest.mark.django_db(transaction=True)
def test_lanes__what_was_written_may_lead_to_more(
    active_generation: Generation, make_asset: MakeAsset, index_all: Callable[[], None], settings: Any
) -> None:
    settings.MEDIASEARCH = settings.MEDIASEARCH | {"CAPTIONER": {"BACKEND": "mediasearch.features.fake.FakeCaptioner"}}
    asset = make_asset()
    index_all()
    assert asset.jobs.get(stage=Stage.EMBED_CAPTION).state == "done"
    assert Embedding.objects.get(asset=asset).caption is not None


@pytest.mark.django_db(transaction=True)
def test_lanes__told_to_stop_it_gives_the_opened_batch_back(
    active_generation: Generation, make_asset: MakeAsset, settings: Any
) -> None:
    settings.MEDIASEARCH = settings.MEDIASEARCH | {"BATCH_SIZE": 2}
    for _ in range(6):
        make_asset()
    answers = iter([False, True])
    assert worker.drain([Stage.EMBED_IMAGE], stopping=lambda: next(answers)) is True
    jobs = Job.objects.filter(stage=Stage.EMBED_IMAGE).order_by("pk")
    assert list(jobs.values_list("state", "attempts")) == [("done", 1)] * 2 + [("pending", 0)] * 4


@pytest.mark.django_db(transaction=True)
def test_lanes__a_suspect_is_in_there_alone(
    active_generation: Generation, make_asset: MakeAsset, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it does to the process, nothing else is lost with it."""
    settings.MEDIASEARCH = settings.MEDIASEARCH | {"BATCH_SIZE": 1}
    assets = [make_asset() for _ in range(3)]
    assets[1].jobs.update(suspect=True)
    running = []
    compute = stages.EmbedImage.compute

    def computing(self: Any, claims: Any, opened: Any) -> list[Any]:
        if claims[0].suspect:
            time.sleep(0.2)
            running.extend(Job.objects.filter(state="running").values_list("asset", flat=True))
        return compute(self, claims, opened)

    monkeypatch.setattr(stages.EmbedImage, "compute", computing)
    worker.drain([Stage.EMBED_IMAGE])
    assert running == [assets[1].pk]
    assert Embedding.objects.count() == 3


@pytest.mark.parametrize("error", [OperationalError, InterfaceError])
def test_patiently__waits_for_the_database(error: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr(lanes.time, "sleep", waited.append)
    answers: list[Any] = [error("gone"), error("gone"), "written"]

    def task() -> Any:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(lanes.transaction, "get_connection", lambda: type("C", (), {"in_atomic_block": False}))
    assert lanes.patiently(task) == "written"
    assert waited == [0.5, 1.0]


@pytest.mark.django_db
def test_patiently__not_inside_a_transaction() -> None:
    def task() -> None:
        raise OperationalError("gone")

    with pytest.raises(OperationalError):
        lanes.patiently(task)


@pytest.mark.django_db(transaction=True)
def test_lanes__a_deleted_asset_in_an_opened_batch(
    active_generation: Generation, make_asset: MakeAsset, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.MEDIASEARCH = settings.MEDIASEARCH | {"BATCH_SIZE": 1}
    first, second = make_asset(), make_asset()
    compute = stages.EmbedImage.compute

    def delete_next(self: Any, claims: Any, opened: Any) -> list[Any]:
        Asset.objects.filter(pk=second.pk).delete()
        return compute(self, claims, opened)

    monkeypatch.setattr(stages.EmbedImage, "compute", delete_next)
    assert worker.drain([Stage.EMBED_IMAGE]) is False
    assert list(Embedding.objects.values_list("asset", flat=True)) == [first.pk]


@pytest.mark.django_db(transaction=True)
def test_lanes__keep_no_connection_of_a_pool_between_two_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a pool of few, whoever waits for such a thread would wait for ever."""

    def connects() -> bool:
        connection.ensure_connection()
        return connection.connection is not None

    monkeypatch.setattr(sessions, "has_pool", lambda connection: True)
    with lanes.Lanes() as both:
        assert both.ahead(connects).result()
        assert both.ahead(lambda: connection.connection).result() is None
