"""A reranker that looks at the pictures, and what every reranker must do.

Extend `RerankerBehaviour` in a test module, give it the fixture `reranker`, and every promise is tested.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
from PIL import Image

from mediasearch.features.base import Candidate, Inquiry, Problem, Reranker, Word
from mediasearch.features.fake import FakeEncoder


class LookAgain(Reranker):
    """Opens each picture and judges it by an encoder, as a cross-encoder would by a model of its own."""

    def __init__(self) -> None:
        self.encoder = FakeEncoder()

    def rerank(self, inquiry: Inquiry, candidates: Sequence[Candidate]) -> list[float]:
        if not candidates:
            return []
        asked = self.encoder.encode_texts([inquiry.words])
        shown = self.encoder.encode_images([candidate.open(self.encoder.input_size) for candidate in candidates])
        return [float(score) for score in shown @ asked[0]]


def in_picture(*lines: str, sizes: Sequence[float] = (), confidence: float = 0.95) -> tuple[Word, ...]:
    """The words of lines, as a reader gives them."""
    return tuple(
        Word(word, (0.1, 0.2 * number, 0.1, sizes[number] if sizes else 0.1), confidence, number)
        for number, line in enumerate(lines)
        for word in line.split()
    )


def _candidate(colour: str, score: float, caption: str = "", *lines: str) -> Candidate:
    return Candidate(
        title=f"IMG_{round(score * 100)}",
        caption=caption,
        words=in_picture(*lines),
        width=64,
        height=48,
        score=score,
        signals={"image": score},
        opener=lambda size: Image.new("RGB", (size, size), colour),
    )


CANDIDATES = (
    _candidate("blue", 3.0, "A blue bus", "Line 6"),
    _candidate("red", 2.5, "A red bus", "Line 9"),
    _candidate("white", 2.0),
    _candidate("green", 0.5, "绿色的灯笼", "出口", "\x00\ud800 ﷽"),
)


class RerankerBehaviour:
    """`reranker` is made as its users make it."""

    @pytest.mark.parametrize(
        "words", ["a red bus", "红色的灯笼", "line 9", '"', "", " \x00 ", "no " * 500, "9" * 2_000]
    )
    @pytest.mark.parametrize("number", [0, 1, 4])
    def test_rerank__one_finite_score_for_each(self, reranker: Reranker, words: str, number: int) -> None:
        scores = list(reranker.rerank(Inquiry(words), CANDIDATES[:number]))
        assert len(scores) == number
        assert all(math.isfinite(score) for score in scores)

    def test_rerank__puts_right_what_is_told_apart(self, reranker: Reranker) -> None:
        scores = reranker.rerank(Inquiry("a red bus"), CANDIDATES[:2])
        assert scores[1] > scores[0]

    def test_rerank__says_the_same_again(self, reranker: Reranker) -> None:
        inquiry = Inquiry("a red bus on line 9", "en")
        assert list(reranker.rerank(inquiry, CANDIDATES)) == list(reranker.rerank(inquiry, CANDIDATES))

    def test_rerank__the_order_it_is_given_makes_no_difference(self, reranker: Reranker) -> None:
        inquiry = Inquiry("a red bus")
        there, back = reranker.rerank(inquiry, CANDIDATES), reranker.rerank(inquiry, CANDIDATES[::-1])
        assert list(there) == pytest.approx(list(back)[::-1])

    def test_rerank__alike_scores_alike(self, reranker: Reranker) -> None:
        one, other, _ = reranker.rerank(Inquiry("bus"), [CANDIDATES[0], replace(CANDIDATES[0]), CANDIDATES[2]])
        assert one == pytest.approx(other)

    def test_check__has_nothing_to_say_where_all_is_well(self, reranker: Reranker) -> None:
        problems: list[Problem] = reranker.check()
        assert problems == []
