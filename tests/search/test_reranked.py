"""Searches whose best hits are judged once more."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest

import mediasearch
from mediasearch.features.base import Candidate, Inquiry, Reranker
from mediasearch.models import Asset, Generation
from mediasearch.search import rerank
from tests.conftest import MakeAsset

pytestmark = pytest.mark.django_db
COLOURS = ("red", "green", "blue", "white", "yellow")


class Backwards(Reranker):
    """Puts the last first."""

    def rerank(self, inquiry: Inquiry, candidates: Sequence[Candidate]) -> list[float]:
        return [float(place) for place, _ in enumerate(candidates)]


class Slow(Reranker):
    def rerank(self, inquiry: Inquiry, candidates: Sequence[Candidate]) -> list[float]:
        time.sleep(0.5)
        return [0.0] * len(candidates)


@pytest.fixture(autouse=True)
def _idle() -> None:
    """Have a worker that is not busy with what another test left behind."""
    rerank._workers.clear()


@pytest.fixture
def library(active_generation: Generation, make_asset: MakeAsset, index_all: Callable[[], None]) -> list[Asset]:
    assets = [make_asset(colour, title=f"IMG_{colour}") for colour in COLOURS]
    index_all()
    return assets


def use(settings: Any, name: str, **keys: Any) -> None:
    settings.MEDIASEARCH = settings.MEDIASEARCH | {"RERANKER": {"BACKEND": f"{__name__}.{name}"}, **keys}


def ids(results: Any) -> list[int]:
    return [hit.asset.pk for hit in results]


def test_search__the_best_are_in_the_rerankers_order(library: list[Asset], settings: Any) -> None:
    first = ids(mediasearch.search("red"))
    assert mediasearch.search("red").reranked is None
    use(settings, "Backwards", RERANK_TOP=3, RERANK_SECONDS=20.0)
    results = mediasearch.search("red")
    assert ids(results) == [*reversed(first[:3]), *first[3:]]
    assert results.reranked is True
    assert [hit.rerank for hit in results] == [2.0, 1.0, 0.0, None, None]
    assert "rerank" in results.timings


def test_search__pages_of_a_reranked_order_agree(library: list[Asset], settings: Any) -> None:
    use(settings, "Backwards", RERANK_TOP=3, RERANK_SECONDS=20.0)
    whole = ids(mediasearch.search("red"))
    assert [pk for start in range(5) for pk in ids(mediasearch.search("red", limit=1, offset=start))] == whole
    walked: list[int] = []
    cursor: str | None = ""
    while cursor is not None:
        results = mediasearch.search("red", limit=2, cursor=cursor)
        walked += ids(results)
        cursor = results.cursor
        assert results.reranked is True
    assert walked == whole


def test_search__over_budget_it_is_the_first_order(library: list[Asset], settings: Any) -> None:
    first = ids(mediasearch.search("red"))
    use(settings, "Slow", RERANK_SECONDS=0.05)
    results = mediasearch.search("red")
    assert ids(results) == first
    assert results.reranked is False
    assert results.degraded[0].signal == "rerank"


@pytest.mark.parametrize("asked", [{"sort": "title"}, {"text": ""}])
def test_search__only_what_words_rank_is_judged(library: list[Asset], settings: Any, asked: dict[str, Any]) -> None:
    use(settings, "Backwards")
    assert mediasearch.search(**{"text": "red"} | asked).reranked is None
