"""What becomes of vectors that come when the search is over."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

import mediasearch
from mediasearch.features import backends, remote
from mediasearch.features.fake import FakeEncoder
from mediasearch.indexing.status import status
from mediasearch.models import Generation
from mediasearch.search import cache
from tests.conftest import MakeAsset, picture
from tests.live import until


@pytest.fixture
def late(settings: Any, monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """When it is set, the query worker answers; before, searches end without."""
    options = {"timeout": 0.05, "picture_timeout": 0.05, "pause": 60.0}
    remotely = {"BACKEND": "mediasearch.features.remote.Remote", "OPTIONS": options}
    settings.MEDIASEARCH = settings.MEDIASEARCH | {"QUERY_ENCODER": remotely}
    may_answer = threading.Event()

    def answer(app: Any, task: str, arguments: list[Any], *_: Any) -> Any:
        assert may_answer.wait(10)
        _generation, _field, asked, fingerprint = arguments
        vectors = FakeEncoder().encode_texts(asked if task == remote.TEXTS else ["red"])
        return {"fingerprint": fingerprint, "vectors": vectors.tolist()}

    monkeypatch.setattr(remote, "_answer", answer)
    monkeypatch.setattr(remote, "_crews", {})
    backends._query_encoder.cache_clear()  # What it remembers of earlier tests is no business of these.
    return may_answer


@pytest.mark.parametrize("asked", [{"text": "red"}, {"image": picture("red")}], ids=["words", "picture"])
def test_search__vectors_that_come_too_late_are_for_the_next(
    asked: dict[str, Any],
    late: threading.Event,
    active_generation: Generation,
    make_asset: MakeAsset,
    index_all: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept: list[str] = []
    keep_many = cache.keep_many
    monkeypatch.setattr(cache, "keep_many", lambda pool, values: (keep_many(pool, values), kept.extend(values)))
    asset = make_asset("red")
    index_all()
    assert mediasearch.search(**asked).degraded
    assert not kept
    late.set()
    until(lambda: kept, "the vectors got lost")
    monkeypatch.setattr(remote, "_answer", lambda *args: pytest.fail("It was asked before."))
    results = mediasearch.search(**asked)
    assert results.degraded == ()
    assert results[0].asset == asset


def test_search__vectors_that_come_too_late_are_looked_at(
    late: threading.Event, active_generation: Generation, make_asset: MakeAsset, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = threading.Event()

    def answer(*args: Any) -> Any:
        late.wait(10)
        looked.set()
        return {"fingerprint": "fake/16", "vectors": np.full((1, 16), np.nan).tolist()}

    monkeypatch.setattr(remote, "_answer", answer)
    make_asset("red")
    assert mediasearch.search("red").degraded
    late.set()
    assert looked.wait(10)
    assert mediasearch.search("red").degraded


def test_search__a_fault_is_met_once_and_told_of_both_fields(
    late: threading.Event, active_generation: Generation, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def fail(*args: Any) -> Any:
        asked.append(args)
        return RuntimeError("CUDA error")

    monkeypatch.setattr(remote, "_answer", fail)
    results = mediasearch.search(["red", mediasearch.Part("blue", weight=-1)])
    assert {notice.signal for notice in results.degraded} == {"image", "caption"}
    assert len(asked) == 2


def test_search__an_answer_of_another_model_is_not_taken_and_raises_the_alarm(
    late: threading.Event, active_generation: Generation, make_asset: MakeAsset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a worker of another site answered that was older than the marks in messages."""
    make_asset("red")
    monkeypatch.setattr(remote, "_answer", lambda *args: FakeEncoder().encode_texts(["red"]).tolist())
    results = mediasearch.search("red")
    assert {notice.signal for notice in results.degraded} == {"image", "caption"}
    assert all("QUEUE_PREFIX" in notice.reason for notice in results.degraded)
    assert [alarm.kind for alarm in status().alarms] == ["foreign"]
