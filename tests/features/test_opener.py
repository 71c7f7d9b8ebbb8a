"""Who waits for whom: uploads, indexing, and the pictures that visitors search with."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from benchmarks.faults import elaborate, slow
from mediasearch.exceptions import (
    Busy,
    DecoderCrashed,
    DecoderTimeout,
    ImageTooComplex,
    MediaSearchError,
    ReaderFailed,
)
from mediasearch.features import opener
from mediasearch.features.sandbox import Sandbox
from tests.conftest import picture
from tests.live import until

SLOW = elaborate.bmp(5_000, "line8", 1)
"""A file that takes a second to open."""


@pytest.fixture(autouse=True)
def _openers(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    settings.MEDIASEARCH = settings.MEDIASEARCH | {"QUESTION_SECONDS": 30.0}
    monkeypatch.setattr(opener, "_sandboxes", {})
    yield
    opener.close()


def openers() -> list[Sandbox]:
    return list(opener._question_openers())


def outcome(data: bytes) -> str:
    try:
        return str(opener.for_question(data, 32).size)
    except MediaSearchError as error:
        return type(error).__name__


def test_for_question__is_what_indexing_sees() -> None:
    data = picture("red", (900, 700), "JPEG")
    assert opener.for_question(data, 32).tobytes() == opener.for_model(data, 32).tobytes()
    box = (0.5, 0.5, 0.5, 0.5)
    assert opener.for_question(data, 32, box).tobytes() == opener.for_model(data, 32, box).tobytes()


def test_for_question__while_others_are_opened_it_is_busy_at_once() -> None:
    said: list[str] = []
    threads = [threading.Thread(target=lambda: said.append(outcome(SLOW))) for _ in range(2)]
    for thread in threads:
        thread.start()
    until(lambda: all(one._lock.locked() for one in openers()), "the openers are not at work")
    began = time.monotonic()
    with pytest.raises(Busy, match="Search again in a moment"):
        opener.for_question(picture(), 32)
    assert time.monotonic() - began < 0.5
    opener.verify(picture())  # An upload waits for none of them.
    assert all(one._lock.locked() for one in openers())
    for thread in threads:
        thread.join()
    assert said == ["(97, 97)"] * 2
    assert outcome(picture()) == "(64, 48)"


def test_for_question__waits_for_no_upload(settings: Any) -> None:
    upload = threading.Thread(target=lambda: opener.verify(SLOW))
    upload.start()
    until(opener._opener()._lock.locked, "the upload is not being opened")
    assert outcome(picture()) == "(64, 48)"
    assert upload.is_alive()
    upload.join()


def test_for_question__has_a_time_of_its_own(settings: Any) -> None:
    opener.for_question(picture(), 32)
    settings.MEDIASEARCH = settings.MEDIASEARCH | {"QUESTION_SECONDS": 0.3}
    with pytest.raises(DecoderTimeout, match=r"took more than 0\.3 seconds\. Save a smaller copy of it\."):
        opener.for_question(SLOW, 32)
    opener.verify(SLOW)


def test_for_question__the_number_of_openers_is_a_setting(settings: Any) -> None:
    settings.MEDIASEARCH = settings.MEDIASEARCH | {"QUESTION_OPENERS": 1}
    thread = threading.Thread(target=outcome, args=[SLOW])
    thread.start()
    until(lambda: openers()[0]._lock.locked(), "the opener is not at work")
    with pytest.raises(Busy):
        opener.for_question(picture(), 32)
    thread.join()


def test_for_question__starts_another_opener_only_when_it_must() -> None:
    for _ in range(3):
        opener.for_question(picture(), 32)
    assert [one._process is not None for one in openers()] == [True, False]


@pytest.mark.parametrize(
    "ask", [opener.verify, opener.inspect, lambda data: opener.for_question(data, 32), opener.read]
)
def test_opener__refuses_what_has_too_many_parts(ask: Any, settings: Any) -> None:
    with pytest.raises(ImageTooComplex, match=r"1,000 scans; at most 77 are accepted at its size\. Save it anew\."):
        ask(slow.many_scans())


class Liar(Sandbox):
    """Answers what a child would that a file took over."""

    def __init__(self, answer: dict[str, Any], payload: bytes) -> None:
        super().__init__()
        self._answer = answer, payload

    def call(self, *_: Any, **__: Any) -> tuple[dict[str, Any], bytes]:
        return self._answer


@pytest.mark.parametrize(
    "size", [{}, {"width": 2, "height": "2"}, {"width": 2, "height": 3}, {"width": -2, "height": -2}]
)
def test_pixels__what_is_no_picture_is_a_crash_of_the_child(
    size: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opener, "_opener", lambda: Liar(size, bytes(12)))
    with pytest.raises(DecoderCrashed, match="no picture"):
        opener.pixels(b"", 32)


@pytest.mark.parametrize(
    "word", [{}, {"text": "a", "box": [1], "confidence": 1.0, "line": 0}, {"text": "a", "box": None}, 1]
)
def test_read__what_is_no_text_is_a_failure_of_the_reader(word: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opener, "_opener", lambda: Liar({"width": 1, "height": 1}, bytes(3)))
    monkeypatch.setattr(opener, "_reader", lambda: Liar({"words": [word]}, b""))
    with pytest.raises(ReaderFailed, match="no text"):
        opener.read(b"")
