"""What words can tell of candidates that look alike."""

from __future__ import annotations

import time
from typing import Any

import pytest

from mediasearch.exceptions import FileMissing, ImproperlySet
from mediasearch.features.base import Candidate, Inquiry, Reranker
from mediasearch.features.reranking import Features
from tests.rerankers import CANDIDATES, LookAgain, RerankerBehaviour, in_picture


class TestFeatures(RerankerBehaviour):
    @pytest.fixture
    def reranker(self) -> Reranker:
        return Features()


class TestLookAgain(RerankerBehaviour):
    @pytest.fixture
    def reranker(self) -> Reranker:
        return LookAgain()


def first(question: str, *candidates: Candidate, language: str = "") -> int:
    scores = Features().rerank(Inquiry(question, language), candidates)
    return max(range(len(scores)), key=lambda number: (scores[number], -number))


def read(*lines: str, score: float = 1.0, **options: Any) -> Candidate:
    return Candidate(words=in_picture(*lines, **options), score=score)


def said(caption: str, score: float = 1.0) -> Candidate:
    return Candidate(caption=caption, score=score)


@pytest.mark.parametrize(
    ("question", "other", "wanted"),
    [
        ("platform 9", "Platform 6\nCoach 9", "Platform 9\nCoach 6"),
        ("platform nine", "Platform 6\nCoach 9", "Platform 9\nCoach 6"),
        ("pears 3.10", "Apples 3.10\nPears 2.40", "Apples 2.40\nPears 3.10"),
        ("a pear for 3.10", "Apples 3.10\nPears 2.40", "Apples 2.40\nPears 3.10"),
        ("room A-1312", "Room A-1213\nFloor 1312", "Room A-1312\nFloor 1213"),
        ("a red bus", "A blue bus by a red house", "A red bus by a blue house"),
        ("a grey cat", "a black cat on a gray sofa", "a gray cat on a black sofa"),
        ("红色的灯笼", "绿色的灯笼和红色的门", "红色的灯笼和绿色的门"),
        ("西出口", "东出口\n西入口", "西出口\n东入口"),
        ("York to Leeds", "Leeds to York\n09:12", "York to Leeds\n09:12"),
        ("coffee with milk", "Tea with milk\nCoffee without milk", "Coffee with milk\nTea without milk"),
        ("no dogs", "Dogs allowed\nNo cats", "Cats allowed\nNo dogs"),
        ("dogs allowed", "Cats allowed\nNo dogs", "Dogs allowed\nNo cats"),
        ("closed on Monday", "Open on Monday\nclosed on Sunday", "Closed on Monday\nopen on Sunday"),
        ("beach left", "Beach right\nHarbour left", "Beach left\nHarbour right"),
    ],
)
@pytest.mark.parametrize("how", [said, lambda text, score: read(*text.split("\n"), score=score)])
def test_rerank__the_same_words_on_other_things(question: str, other: str, wanted: str, how: Any) -> None:
    assert first(question, how(other, 1.0), how(wanted, 0.999)) == 1
    assert first(question, how(wanted, 1.0), how(other, 0.999)) == 0


@pytest.mark.parametrize(
    ("question", "caption"),
    [
        ("a yellow bus in front of a house", "A blue bus in front of a house"),
        ("the way to gate 4 at the airport", "The way to gate 17 at the airport"),
        ("two dogs in the snow", "Three dogs in the snow"),
        ("黄色的灯笼", "绿色的灯笼"),
    ],
)
def test_rerank__another_one_of_its_kind_is_not_what_was_asked_for(question: str, caption: str) -> None:
    assert first(question, said(caption), said("", 0.6)) == 1


@pytest.mark.parametrize(
    ("question", "caption"),
    [
        ("a red bus", "A bus that is red"),
        ("a red bus", "A red and white bus"),
        ("a red cup", "A cup on a white table"),
        ("room 12", "Room 12-A"),
        ("platform 9", "Platforms 8 and 9"),
        ("a bus at 9", "A bus beside 6 trees"),
        ("a man without a hat", "A man, no hat"),
    ],
)
def test_rerank__what_does_not_contradict_is_not_held_against_it(question: str, caption: str) -> None:
    assert first(question, said(caption), said("", 0.9)) == 0


def test_rerank__without_evidence_the_order_stays() -> None:
    candidates = [said(text, score) for text, score in (("", 3.0), ("", 2.0), ("A boat", 1.0), ("", 0.0))]
    for question in ("zebra", "", "a red zebra", "9"):
        scores = Features().rerank(Inquiry(question, has_picture=True), candidates)
        assert scores == sorted(scores, reverse=True)
        assert len(set(scores)) == 4


def test_rerank__a_few_words_of_a_sentence_do_not_overtake() -> None:
    question = "a tray of food sitting next to a computer keyboard"
    assert first(question, said("Breakfast at work", 1.0), said("A laptop computer sitting on top of a desk", 0.9)) == 0


def test_rerank__what_nothing_is_written_about_is_not_overtaken_by_words() -> None:
    assert first("a boat on a lake", said(""), said("A boat on a lake", 0.95)) == 0
    assert first("a boat on a lake", said("Holidays"), said("A boat on a lake", 0.95)) == 1


def test_rerank__words_that_all_have_say_nothing() -> None:
    bus, red_bus = said("A bus in a street"), said("A red bus in a street", 0.99)
    scores = Features().rerank(Inquiry("red bus street"), [bus, bus, red_bus])
    assert scores[2] > scores[0]
    alike = Features().rerank(Inquiry("bus street"), [bus, bus, red_bus])
    assert alike == sorted(alike, reverse=True)


def test_rerank__large_letters_say_what_a_sign_is() -> None:
    way_out = read("EXIT", "Entrance on the left", sizes=(0.3, 0.1), score=0.99)
    way_in = read("ENTRANCE", "Exit on the left", sizes=(0.3, 0.1))
    assert first("exit", way_in, way_out) == 1
    assert first("entrance", way_in, way_out) == 0


def test_rerank__words_that_were_hardly_readable_count_less() -> None:
    assert first("exit", read("Exit", confidence=0.55), read("Exit", confidence=0.99, score=0.99)) == 1


def test_rerank__words_of_one_stem() -> None:
    assert first("apples", said("A pear"), said("An apple", 0.99)) == 1
    assert first("apples", said("A pear"), said("An apple", 0.99), language="en") == 1
    assert first("apples", said("A pear"), said("An apple", 0.99), language="zh") == 0


def test_rerank__stemmers_of_other_languages() -> None:
    candidates = [said("Eine Birne"), said("Ein Hund", 0.99)]
    with_german = Features(stemmers={"de": "german"}).rerank(Inquiry("Hunde", "de"), candidates)
    assert with_german[1] > with_german[0]


def test_rerank__tags_titles_and_alt_texts_are_read() -> None:
    for field in ({"title": "Harbour"}, {"alt_text": "Harbour"}, {"category": "Harbour"}, {"tags": ("sea", "Harbour")}):
        assert first("harbour", said("Station"), Candidate(score=0.99, **field)) == 1  # type: ignore[arg-type]


def test_rerank__texts_of_any_length_take_little_time() -> None:
    long = read(*["word " * 5_000] * 200, score=0.5)
    start = time.thread_time()
    scores = Features().rerank(Inquiry("a red bus " * 1_000), [said("x " * 5_000_000), long, *CANDIDATES])
    assert len(scores) == 6
    assert time.thread_time() - start < 5


@pytest.mark.parametrize("options", [{"strength": 0.0}, {"strength": float("nan")}, {"stemmers": {"en": "klingon"}}])
def test_options__are_checked(options: Any) -> None:
    with pytest.raises(ImproperlySet):
        Features(**options)


@pytest.mark.parametrize(
    ("size", "orientation"), [((4, 3), "landscape"), ((3, 4), "portrait"), ((3, 3), "square"), ((0, 0), "")]
)
def test_candidate__orientation(size: tuple[int, int], orientation: str) -> None:
    assert Candidate(width=size[0], height=size[1]).orientation == orientation


def test_candidate__without_its_picture() -> None:
    with pytest.raises(FileMissing, match="without its picture"):
        Candidate().open()
