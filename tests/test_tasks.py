"""What Celery runs, where it decides anything."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import pytest
from celery.concurrency import prefork, solo

from mediasearch import tasks
from mediasearch.features import remote
from mediasearch.indexing import encoders
from mediasearch.indexing.sweeper import Sweeper

REMOTE = "mediasearch.features.remote.Remote"


@pytest.mark.parametrize(
    ("held", "pictures", "texts_only"),
    [
        ({remote.QUEUE}, True, False),
        ({remote.QUEUE}, False, True),
        ({remote.QUEUE, "mediasearch.embed"}, False, False),
    ],
)
def test_warm_query__keeps_the_image_tower_where_it_is_needed(
    settings: Any, monkeypatch: pytest.MonkeyPatch, held: set[str], pictures: bool, texts_only: bool
) -> None:
    settings.MEDIASEARCH = settings.MEDIASEARCH | {
        "QUERY_ENCODER": {"BACKEND": REMOTE, "OPTIONS": {"pictures": pictures}}
    }
    asked: list[bool] = []
    monkeypatch.setattr(tasks, "_HELD_QUEUES", held)
    monkeypatch.setattr(encoders, "warm_active", lambda *, texts_only: asked.append(texts_only))
    tasks.warm_query()
    assert asked == [texts_only]


@pytest.mark.django_db(transaction=True)
def test_sweeper__is_one_in_a_process_and_ends_with_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Celery's solo pool tells that its process begins, and is the main process, too."""
    monkeypatch.setattr(tasks, "_HELD_QUEUES", {"mediasearch.read"})
    ready = SimpleNamespace(pool=solo.TaskPool())
    tasks.sweep_in_process()
    tasks.sweep_in_main_process(sender=ready)
    try:
        (sweeper,) = [thread for thread in threading.enumerate() if isinstance(thread, Sweeper)]
    finally:
        tasks.stop_sweeper()
    assert not sweeper.is_alive()


def test_sweeper__none_in_the_main_process_of_a_pool_of_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "_HELD_QUEUES", {"mediasearch.read"})
    tasks.sweep_in_main_process(sender=SimpleNamespace(pool=prefork.TaskPool(1, threads=False)))
    assert not any(isinstance(thread, Sweeper) for thread in threading.enumerate())


def test_sweeper__none_where_no_queue_of_indexing_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "_HELD_QUEUES", {remote.QUEUE})
    tasks.sweep_in_main_process(sender=SimpleNamespace(pool=solo.TaskPool()))
    assert not any(isinstance(thread, Sweeper) for thread in threading.enumerate())
