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

from mediasearch.exceptions import EncoderUnavailable
from mediasearch.features import patience, remote
from mediasearch.features.base import Question
from mediasearch.features.remote import Remote
from tests.live import until

PICTURE = Image.new("RGB", (8, 8))


class Worker:
    """Answers when it is let, and counts what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.may_answer = threading.Event()
        self.answer: Any = [[1.0, 0.0]]

    def __call__(self, app: Any, task: str, arguments: list[Any], seconds: float) -> Any:
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


def question(late: Callable[[Any], None] | None = None) -> Question:
    return Question(1, "image", {}, late)


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
