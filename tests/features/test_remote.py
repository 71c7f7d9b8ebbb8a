"""Waiting for a query worker that is late, absent or well; what it does with real ones is in test_end_to_end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mediasearch.exceptions import Crowded, EncoderUnavailable, Foreign
from mediasearch.features import patience, remote
from mediasearch.features.base import Question
from mediasearch.features.remote import Remote
from tests.live import until

MODEL = "fake/2"
PICTURE = Image.new("RGB", (8, 8))


class Worker:
    """Answers when it is let, and counts what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.may_answer = threading.Event()
        self.answer: Any = {"fingerprint": MODEL, "vectors": [[1.0, 0.0]]}

    def __call__(self, app: Any, task: str, arguments: list[Any], seconds: float, site: str, rank: int) -> Any:
        self.asked.append(task)
        if not self.may_answer.wait(min(seconds, 10.0)):
            raise TimeoutError
        return self.answer


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Iterator[Worker]:
    worker = Worker()
    monkeypatch.setattr(remote, "_answer", worker)
    monkeypatch.setattr(remote, "_crews", {})
    yield worker
    worker.may_answer.set()


def question(late: Callable[[Any], None] | None = None, client: str = "", rank: int = 0) -> Question:
    return Question(1, "image", {}, MODEL, "here", client, rank, late)


def waited(ask: Callable[[], Any], match: str = "query worker") -> float:
    started = time.monotonic()
    with pytest.raises(EncoderUnavailable, match=match):
        ask()
    return time.monotonic() - started


def test_ask__answers_in_time(worker: Worker) -> None:
    worker.may_answer.set()
    assert Remote().encode_texts(question(), ["red"]).tolist() == [[1.0, 0.0]]


def test_ask__by_default_a_search_waits_less_than_a_second(worker: Worker) -> None:
    asks = Remote()
    assert 0.4 < waited(lambda: asks.encode_texts(question(), ["red"]), "within 0.5 s") < 0.9
    assert waited(lambda: asks.encode_texts(question(), ["blue"]), "a moment ago") < 0.3
    assert 1.9 < waited(lambda: asks.encode_images(question(), [PICTURE]), "within 2 s") < 2.9


def test_ask__many_at_once_wait_together(worker: Worker) -> None:
    asks = Remote(timeout=0.3)
    started = time.monotonic()
    with ThreadPoolExecutor(40) as people:
        waits = [people.submit(waited, lambda: asks.encode_texts(question(), ["red"])) for _ in range(40)]
    assert max(wait.result() for wait in waits) < 1.5
    assert time.monotonic() - started < 2.5
    assert len(worker.asked) <= remote._THREADS


def test_ask__an_answer_that_is_late_is_handed_on_and_ends_the_pause(worker: Worker) -> None:
    asks, late = Remote(timeout=0.1, pause=60.0), []
    waited(lambda: asks.encode_texts(question(late.append), ["red"]))
    waited(lambda: asks.encode_texts(question(), ["blue"]), "a moment ago")
    worker.may_answer.set()
    until(lambda: late, "the vectors got lost")
    assert late[0].tolist() == [[1.0, 0.0]]
    assert late[0].dtype == np.float32
    assert asks.encode_texts(question(), ["green"]).shape == (1, 2)


def test_ask__what_is_mended_is_noticed_by_questions_that_nobody_waits_for(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: Any) -> None:
        raise ConnectionError("refused")

    asks, late = Remote(timeout=5.0, pause=0.05), []
    with monkeypatch.context() as patch:
        patch.setattr(remote, "_answer", refuse)
        waited(lambda: asks.encode_texts(question(), ["red"]), "No query worker answers")
    for _ in range(5):
        time.sleep(0.06)
        assert waited(lambda: asks.encode_texts(question(late.append), ["red"]), "a moment ago") < 1.0
    assert len(worker.asked) == 1  # One at a time.
    worker.may_answer.set()
    until(lambda: late, "the vectors got lost")
    assert asks.encode_texts(question(), ["red"]).shape == (1, 2)


def test_ask__parts_of_one_question_wait_together(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    def slowly(*args: Any) -> Any:
        worker.asked.append("part")
        time.sleep(0.3)
        return worker.answer

    asks, late = Remote(timeout=0.5, picture_timeout=0.5), []
    monkeypatch.setattr(remote, "_answer", slowly)
    with patience.shared():
        asks.encode_texts(question(), ["red"])
        assert waited(lambda: asks.encode_texts(question(late.append), ["blue"]), r"within 0\.[12]") < 0.5
        assert waited(lambda: asks.encode_images(question(late.append), [PICTURE]), "no time left") < 0.2
    until(lambda: len(late) == 2, "what came too late got lost")
    assert len(worker.asked) == 3


def test_ask__as_long_as_somebody_has(worker: Worker) -> None:
    threading.Timer(0.4, worker.may_answer.set).start()
    with patience.shared(5.0):
        assert Remote(timeout=0.05).encode_texts(question(), ["red"]).shape == (1, 2)


def test_ask__a_fault_of_the_encoder_closes_nothing(worker: Worker) -> None:
    worker.answer = RuntimeError("CUDA error")
    worker.may_answer.set()
    asks = Remote()
    for _ in range(2):
        with pytest.raises(RuntimeError, match="CUDA"):
            asks.encode_texts(question(), ["red"])
    assert len(worker.asked) == 2


@pytest.mark.parametrize("answer", [[[1.0, 0.0]], {"fingerprint": "fake/3", "vectors": [[1.0, 0.0]]}, None])
def test_ask__vectors_of_another_model_are_never_taken(worker: Worker, answer: Any) -> None:
    """A worker of an older version answers with vectors alone, of whatever model it has."""
    worker.answer = answer
    worker.may_answer.set()
    late: list[Any] = []
    with pytest.raises(Foreign, match="QUEUE_PREFIX"):
        Remote().encode_texts(question(late.append), ["red"])
    assert late == []


def test_ask__one_question_of_a_client_at_a_time(worker: Worker) -> None:
    asks = Remote(timeout=3.0)
    with ThreadPoolExecutor(4) as people:
        crowd = [people.submit(asks.encode_texts, question(client="crowd"), ["red"]) for _ in range(3)]
        until(lambda: worker.asked, "nothing was asked")
        other = people.submit(asks.encode_texts, question(client="other"), ["blue"])
        until(lambda: len(worker.asked) == 2, "another client's question waits")
        time.sleep(0.1)
        assert len(worker.asked) == 2
        worker.may_answer.set()
        assert all(answer.result(5.0).shape == (1, 2) for answer in [*crowd, other])
    assert len(worker.asked) == 4


def test_ask__nobody_in_particular_stands_in_no_line(worker: Worker) -> None:
    asks = Remote(timeout=3.0)
    with ThreadPoolExecutor(3) as people:
        answers = [people.submit(asks.encode_texts, question(), ["red"]) for _ in range(3)]
        until(lambda: len(worker.asked) == 3, "a question waits for another")
        worker.may_answer.set()
        assert all(answer.result(5.0).shape == (1, 2) for answer in answers)


def test_ask__a_client_whose_turn_does_not_come_is_told_so_and_others_wait_as_before(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    asks = Remote(timeout=0.3)
    monkeypatch.setattr(asks, "_rest", lambda kind: None)  # What is not answered in time closes nothing here.
    with ThreadPoolExecutor(2) as people:
        first = people.submit(waited, lambda: asks.encode_texts(question(client="crowd"), ["red"]), "within")
        until(lambda: worker.asked, "nothing was asked")
        with pytest.raises(Crowded):
            asks.encode_texts(question(client="crowd"), ["blue"])
        assert first.result(5.0) < 0.9
    assert len(worker.asked) == 1
    worker.may_answer.set()
    until(lambda: asks.encode_texts(question(client="crowd"), ["red"]).shape == (1, 2), "the line never moved on")


def test_ask__many_of_one_client_are_refused_without_waiting(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    def slowly(*args: Any) -> Any:
        time.sleep(0.2)
        return worker.answer

    monkeypatch.setattr(remote, "_answer", slowly)
    asks = Remote(timeout=0.5)
    asks.encode_texts(question(client="crowd"), ["red"])  # So that it is known how long one takes.

    def ask() -> float:
        began = time.monotonic()
        try:
            asks.encode_texts(question(client="crowd"), ["red"])
        except Crowded:
            return time.monotonic() - began
        return 9.0

    with ThreadPoolExecutor(12) as people:
        refused = sorted(people.map(lambda _: ask(), range(12)))
    assert refused[5] < 0.15


def test_ask__what_waits_behind_others_closes_nothing_for_those_that_do_not(worker: Worker) -> None:
    asks = Remote(timeout=0.1, pause=60.0)
    waited(lambda: asks.encode_texts(question(rank=3), ["red"]), "within")
    waited(lambda: asks.encode_texts(question(rank=3), ["red"]), "a moment ago")
    worker.may_answer.set()
    assert asks.encode_texts(question(), ["red"]).shape == (1, 2)
    assert asks.encode_texts(question(rank=3), ["red"]).shape == (1, 2)


def test_ask__where_those_in_front_are_not_answered_nobody_behind_them_waits(worker: Worker) -> None:
    asks = Remote(timeout=0.3, pause=60.0)
    waited(lambda: asks.encode_texts(question(rank=1), ["red"]), "within")
    for rank in (1, 2, 3):
        assert waited(lambda rank=rank: asks.encode_texts(question(rank=rank), ["red"]), "a moment ago") < 0.2
    assert len(worker.asked) == 1


@pytest.mark.parametrize(("broker", "ranked"), [("redis://", [0, 3, 6, 9]), ("amqp://", [9, 6, 3, 0])])
def test_priority__who_asked_least_goes_first(broker: str, ranked: list[int]) -> None:
    from celery import Celery

    app = Celery(broker=broker)
    assert [remote._priority(app, rank) for rank in range(4)] == ranked
