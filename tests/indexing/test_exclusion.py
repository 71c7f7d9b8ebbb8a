"""Several drains in one process, as Celery's pools of threads have them."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connections

from mediasearch.indexing import exclusion, stages, worker
from mediasearch.models import Embedding, Generation, Job, Stage
from tests.conftest import MakeAsset


@pytest.mark.django_db(transaction=True)
def test_drain__a_suspect_is_alone_among_threads(
    active_generation: Generation, make_asset: MakeAsset, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it does to the process, no other thread's batch is lost with it, and nothing is done twice."""
    settings.MEDIASEARCH = settings.MEDIASEARCH | {"BATCH_SIZE": 1}
    assets = [make_asset() for _ in range(12)]
    for suspect in (assets[4], assets[5]):
        suspect.jobs.update(suspect=True)
    beside: list[set[int]] = []
    compute = stages.EmbedImage.compute

    def computing(self: Any, claims: Any, opened: Any) -> list[Any]:
        time.sleep(0.2)
        if claims[0].suspect:
            beside.append(set(Job.objects.filter(state="running").values_list("asset", flat=True)))
        return compute(self, claims, opened)

    def drain(_: int) -> None:
        try:
            while worker.drain([Stage.EMBED_IMAGE]):
                pass
        finally:
            connections.close_all()

    monkeypatch.setattr(stages.EmbedImage, "compute", computing)
    with ThreadPoolExecutor(3) as threads:
        list(threads.map(drain, range(3)))
    assert sorted(beside, key=min) == [{assets[4].pk}, {assets[5].pk}]
    assert Embedding.objects.count() == 12
    assert set(Job.objects.filter(stage=Stage.EMBED_IMAGE).values_list("state", "attempts")) == {("done", 1)}


def test_exclusive__given_up_where_others_do_not_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exclusion, "PATIENCE", 0.1)
    monkeypatch.setattr(exclusion, "_LOOK_EVERY", 0.01)
    lock, renewed = exclusion.Exclusion(), []
    with lock.shared(), lock.shared():
        with lock.exclusive(lambda: renewed.append(1)) as alone:
            assert not alone
            assert lock.wanted()
        assert not lock.wanted()
    assert renewed


def test_shared__waits_while_another_is_alone() -> None:
    lock, inside = exclusion.Exclusion(), threading.Event()

    def enter() -> None:
        with lock.shared():
            inside.set()

    with lock.shared(), lock.exclusive(lambda: None) as alone:
        assert alone
        thread = threading.Thread(target=enter)
        thread.start()
        assert not inside.wait(0.2)
    assert inside.wait(10)
    thread.join()
