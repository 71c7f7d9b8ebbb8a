"""The second judgement: in time, or not at all. Without a mark for it, a test here may not ask the database."""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Any, ClassVar

import pytest

from mediasearch.features.base import Candidate, Inquiry, Reranker
from mediasearch.models import Asset
from mediasearch.search.rerank import Reranked, rerank
from mediasearch.search.results import Evidence, Hit
from tests.conftest import MakeAsset
from tests.rerankers import LookAgain, in_picture

PATIENT, HURRIED = 10.0, 0.05


class Remembering(Reranker):
    """Keeps what it was shown, and puts the last first."""

    shown: ClassVar[list[tuple[Inquiry, Sequence[Candidate]]]] = []

    def rerank(self, inquiry: Inquiry, candidates: Sequence[Candidate]) -> list[float]:
        self.shown.append((inquiry, candidates))
        return [float(number) for number in range(len(candidates))]


class Answering(Reranker):
    """Answers whatever the test says."""

    answer: ClassVar[Any] = None

    def rerank(self, inquiry: Inquiry, candidates: Sequence[Candidate]) -> Any:
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer


class Hanging(Reranker):
    """Hangs until the test lets go."""

    let_go: ClassVar[threading.Event] = threading.Event()

    def rerank(self, inquiry: Inquiry, candidates: Sequence[Candidate]) -> list[float]:
        self.let_go.wait(30)
        return [0.0] * len(candidates)


class Slow(Reranker):
    """Takes a while, and not too long."""

    def rerank(self, inquiry: Inquiry, candidates: Sequence[Candidate]) -> list[float]:
        time.sleep(0.1)
        return [float(number) for number in range(len(candidates))]


class Broken(Reranker):
    """Can't be made."""

    def __init__(self) -> None:
        raise OSError("no weights here")

    def rerank(self, inquiry: Inquiry, candidates: Sequence[Candidate]) -> list[float]:
        return []


@pytest.fixture(autouse=True)
def _over() -> Iterator[None]:
    """Leave no call behind that is late: the next test's searches would do without."""
    yield
    until(lambda: not working())


@pytest.fixture
def use(settings: Any) -> Any:
    """Set a reranker and its time."""

    def use(reranker: type[Reranker] | str, seconds: float = PATIENT, **others: Any) -> None:
        path = reranker if isinstance(reranker, str) else f"{reranker.__module__}.{reranker.__qualname__}"
        keys = {"RERANKER": {"BACKEND": path}, "RERANK_SECONDS": seconds}
        settings.MEDIASEARCH = settings.MEDIASEARCH | keys | {name.upper(): value for name, value in others.items()}

    return use


@pytest.fixture
def hanging(use: Any) -> Iterator[None]:
    """A search whose reranker hangs, until the test is over."""
    Hanging.let_go = threading.Event()
    use(Hanging, HURRIED)
    assert not rerank(hits("a", "b"), Inquiry("a")).reranked
    yield
    Hanging.let_go.set()


def hits(*captions: str) -> tuple[Hit, ...]:
    """Hits that nothing but their caption tells apart, the first a little ahead."""
    return tuple(Hit(Asset(pk=n, caption=caption), 3.0 - 0.01 * n) for n, caption in enumerate(captions, 1))


def keys(outcome: Reranked) -> list[int]:
    return [hit.asset.pk for hit in outcome.hits]


def working() -> int:
    return sum(thread.name == "mediasearch-rerank" for thread in threading.enumerate())


def until(condition: Any, seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_rerank__off_by_default() -> None:
    found = hits("a blue bus", "a red bus")
    assert rerank(found, Inquiry("a red bus")) == Reranked(found)


def test_rerank__by_words(use: Any) -> None:
    use("mediasearch.features.reranking.Features")
    outcome = rerank(hits("a blue bus", "a red bus", "a boat"), Inquiry("a red bus"))
    assert keys(outcome)[0] == 2
    assert outcome.reranked
    assert outcome.notice is None
    assert len(outcome.scores) == 3
    assert list(outcome.scores) == sorted(outcome.scores, reverse=True)


@pytest.mark.parametrize("number", [0, 1])
def test_rerank__nothing_to_order(use: Any, number: int) -> None:
    use(Remembering)
    found = hits("a")[:number]
    assert rerank(found, Inquiry("a")) == Reranked(found)


def test_rerank__the_top_alone(use: Any) -> None:
    use(Remembering, rerank_top=3)
    outcome = rerank(hits("a", "b", "c", "d", "e"), Inquiry("a"))
    assert keys(outcome) == [3, 2, 1, 4, 5]
    assert outcome.scores == (2.0, 1.0, 0.0)


def test_rerank__equal_scores_stay_in_order(use: Any) -> None:
    use(Answering)
    Answering.answer = [1, 2, 1, 2]
    assert keys(rerank(hits("a", "b", "c", "d"), Inquiry("a"))) == [2, 4, 1, 3]


def test_rerank__shows_what_is_stored(use: Any) -> None:
    use(Remembering)
    words = in_picture("Platform 9", "Coach 6")
    asset = Asset(
        title="Station",
        alt_text="a sign",
        caption="A sign in a station",
        category="travel",
        tags=["sign", "rail"],
        ocr_words=[asdict(word) | {"box": list(word.box)} for word in words],
        width=640,
        height=480,
    )
    signals = {"image": Evidence(0.31, 0.9, 2, 0.4), "text": Evidence(0.5, 1.0, 1, 0.6)}
    rerank([Hit(asset, 2.5, signals), *hits("b")], Inquiry("platform 9", "en", has_picture=True))
    inquiry, (candidate, _) = Remembering.shown[-1]
    assert inquiry == Inquiry("platform 9", "en", has_picture=True)
    assert candidate == Candidate(
        title="Station",
        alt_text="a sign",
        caption="A sign in a station",
        category="travel",
        tags=("sign", "rail"),
        words=words,
        width=640,
        height=480,
        score=2.5,
        signals={"image": 0.9, "text": 1.0},
    )
    assert candidate.orientation == "landscape"


@pytest.mark.django_db
def test_rerank__pictures_can_be_opened(use: Any, make_asset: MakeAsset) -> None:
    use(LookAgain)
    found = [Hit(make_asset(colour), 1.0) for colour in ("blue", "red", "green")]
    outcome = rerank(found, Inquiry("something red"))
    assert outcome.hits[0] == found[1]


@pytest.mark.django_db
def test_rerank__a_picture_that_is_gone(use: Any, make_asset: MakeAsset) -> None:
    use(LookAgain)
    found = tuple(Hit(make_asset(colour), 1.0) for colour in ("blue", "red"))
    found[0].asset.file.storage.delete(found[0].asset.file.name)
    outcome = rerank(found, Inquiry("something red"))
    assert (outcome.hits, outcome.reranked) == (found, False)


@pytest.mark.parametrize(
    "answer",
    [
        [],
        [1.0],
        [1.0, 2.0, 3.0],
        [1.0, math.nan],
        [math.inf, 1.0],
        ["high", "low"],
        [None, None],
        None,
        ValueError("no"),
        SystemExit(1),
    ],
    ids=repr,
)
def test_rerank__nonsense_leaves_the_first_order(use: Any, answer: Any) -> None:
    use(Answering)
    Answering.answer = answer
    found = hits("a", "b")
    outcome = rerank(found, Inquiry("b"))
    assert (outcome.hits, outcome.reranked, outcome.scores) == (found, False, ())
    assert outcome.notice is not None
    assert outcome.notice.signal == "rerank"
    assert "reranker" in outcome.notice.reason
    Answering.answer = [1, 2]
    assert rerank(found, Inquiry("b")).reranked


def test_rerank__one_that_cannot_be_made(use: Any, caplog: pytest.LogCaptureFixture) -> None:
    use(Broken)
    outcome = rerank(hits("a", "b"), Inquiry("b"))
    assert not outcome.reranked
    assert outcome.notice is not None
    assert "the log says why" in outcome.notice.reason
    (record,) = (record for record in caplog.records if record.name == "mediasearch.search.rerank")
    assert (record.event, record.fault) == ("rerank-failed", "OSError")  # type: ignore[attr-defined]


def test_rerank__over_its_time_the_first_order_stands(use: Any) -> None:
    use(Slow, HURRIED)
    found = hits("a", "b")
    start = time.monotonic()
    outcome = rerank(found, Inquiry("b"))
    assert time.monotonic() - start < 0.1
    assert (outcome.hits, outcome.reranked, outcome.scores) == (found, False, ())
    assert outcome.notice is not None
    assert "0.05 seconds" in outcome.notice.reason
    until(lambda: not working())
    use(Slow)
    assert rerank(found, Inquiry("b")).reranked


def test_rerank__no_time_at_all(use: Any) -> None:
    use("mediasearch.features.reranking.Features", 1e-9)
    found = hits("a blue bus", "a red bus")
    for _ in range(20):
        outcome = rerank(found, Inquiry("a red bus"))
        assert (outcome.hits, outcome.reranked) == (found, False)
        assert outcome.notice is not None


def test_rerank__while_one_hangs_nobody_waits(use: Any, hanging: None) -> None:
    use(Hanging, PATIENT)
    found = hits("a", "b")
    start = time.monotonic()
    outcomes = [rerank(found, Inquiry("b")) for _ in range(50)]
    assert time.monotonic() - start < 1
    assert not any(outcome.reranked for outcome in outcomes)
    assert {outcome.notice and outcome.notice.reason for outcome in outcomes} == {
        "The reranker is still busy with an earlier search."
    }
    assert working() == 1
    Hanging.let_go.set()
    until(lambda: not working())
    assert rerank(found, Inquiry("b")).reranked


def test_rerank__searches_at_the_same_time_take_turns(use: Any) -> None:
    use(Slow)
    found = hits("a", "b")
    with ThreadPoolExecutor(4) as pool:
        outcomes = list(pool.map(lambda _: rerank(found, Inquiry("b")), range(4)))
    assert all(outcome.reranked for outcome in outcomes)


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_rerank__a_forked_process_has_its_own(use: Any, hanging: None) -> None:
    use("mediasearch.features.reranking.Features")
    child = os.fork()
    if not child:
        reranked = rerank(hits("a blue bus", "a red bus"), Inquiry("a red bus")).reranked
        os._exit(0 if reranked else 1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
