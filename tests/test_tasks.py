"""What Celery runs, where it decides anything."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from celery.concurrency import prefork, solo

from mediasearch import tasks
from mediasearch.exceptions import EncoderUnavailable, Foreign
from mediasearch.features import remote
from mediasearch.features.fake import FakeEncoder
from mediasearch.indexing import encoders, worker
from mediasearch.indexing.sweeper import Sweeper
from mediasearch.models import Generation, Stray

QUERY = "mediasearch.query"
REMOTE = "mediasearch.features.remote.Remote"


@pytest.mark.parametrize(
    ("held", "pictures", "texts_only"),
    [
        ({QUERY}, True, False),
        ({QUERY}, False, True),
        ({QUERY, "mediasearch.embed"}, False, False),
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
    monkeypatch.setattr(tasks, "_HELD_QUEUES", {QUERY})
    tasks.sweep_in_main_process(sender=SimpleNamespace(pool=solo.TaskPool()))
    assert not any(isinstance(thread, Sweeper) for thread in threading.enumerate())


@pytest.fixture
def from_elsewhere() -> Iterator[Callable[[Any], None]]:
    """Have a task find the mark of another site in its message."""
    with ExitStack() as marked:

        def mark(task: Any) -> None:
            task.push_request(headers={remote.HEADER: "another"})
            marked.callback(task.pop_request)

        yield mark


@pytest.mark.parametrize("fingerprint", ["fake/16", "fake/24"])
def test_encode_texts__with_the_encoder_that_is_named_or_not_at_all(
    active_generation: Generation, fingerprint: str
) -> None:
    """A generation of another site may have the same number, and another model."""
    if fingerprint != "fake/16":
        with pytest.raises(Foreign):
            tasks.encode_texts(active_generation.pk, "image", ["red"], fingerprint)
        assert Stray.objects.get().queue == QUERY
        return
    answer = tasks.encode_texts(active_generation.pk, "image", ["red"], fingerprint)
    assert answer["fingerprint"] == "fake/16"
    assert np.allclose(answer["vectors"], FakeEncoder().encode_texts(["red"]))
    assert not Stray.objects.exists()


def test_encode_texts__a_question_of_an_older_version_is_refused(active_generation: Generation) -> None:
    with pytest.raises(EncoderUnavailable, match="older version"):
        tasks.encode_texts(active_generation.pk, "image", ["red"])
    assert not Stray.objects.exists()


def test_encode__the_same_model_for_another_site_is_refused(
    active_generation: Generation, from_elsewhere: Callable[[Any], None]
) -> None:
    for task in (tasks.encode_texts, tasks.encode_images):
        from_elsewhere(task)
        with pytest.raises(Foreign):
            task(active_generation.pk, "image", [], "fake/16")
    assert Stray.objects.get().number == 2


def test_drain__of_another_site_is_counted_and_does_nothing(
    db: None, from_elsewhere: Callable[[Any], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    drained: list[Any] = []
    monkeypatch.setattr(worker, "warm", lambda stages: None)
    monkeypatch.setattr(worker, "drain", lambda stages, stopping: drained.append(stages))
    tasks.drain("mediasearch.read")  # Without a mark, as an older version rings.
    assert len(drained) == 1
    from_elsewhere(tasks.drain)
    tasks.drain("mediasearch.read")
    assert len(drained) == 1
    assert Stray.objects.get().queue == "mediasearch.read"


def test_drain__of_a_queue_that_is_none_of_ours(db: None) -> None:
    tasks.drain("shop.read")
    assert Stray.objects.get().queue == "shop.read"


def test_warm_query__of_another_site_loads_nothing(
    db: None, from_elsewhere: Callable[[Any], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoders, "warm_active", lambda **_: pytest.fail("a model was loaded"))
    from_elsewhere(tasks.warm_query)
    tasks.warm_query()
    assert Stray.objects.get().queue == QUERY


def test_note_queues__a_worker_of_the_names_before_a_prefix_is_told_so(
    settings: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    settings.MEDIASEARCH = settings.MEDIASEARCH | {"QUEUE_PREFIX": "shop"}
    amqp = SimpleNamespace(queues=SimpleNamespace(consume_from={"mediasearch.read": None, "shop.embed": None}))
    monkeypatch.setattr(tasks, "_HELD_QUEUES", set())
    tasks.note_queues(SimpleNamespace(app=SimpleNamespace(amqp=amqp), pool_cls=prefork.TaskPool))
    assert "the queues of this site are shop.embed, shop.query, shop.read: nothing of it comes to mediasearch.read" in (
        caplog.text
    )
