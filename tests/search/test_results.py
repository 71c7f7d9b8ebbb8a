from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import connections
from django.utils import timezone

import mediasearch
from mediasearch.exceptions import QueryError
from mediasearch.models import Asset, Generation
from mediasearch.search import answering
from mediasearch.search.results import Hit
from tests.conftest import MakeAsset, workers_write

pytestmark = pytest.mark.django_db


@pytest.fixture
def library(active_generation: Generation, make_asset: MakeAsset, index_all: Callable[[], None]) -> dict[str, Asset]:
    assets = {colour: make_asset(colour, title=colour.upper()) for colour in ("red", "green", "blue")}
    index_all()
    for number, asset in enumerate(assets.values(), start=1):
        taken = timezone.now() - timedelta(days=365 * number)
        workers_write(
            Asset.objects.filter(pk=asset.pk), taken_at=taken, byte_size=100 * (number % 3), popularity=100 * number
        )
    return assets


def titles(results: mediasearch.Results) -> list[str]:
    return [hit.asset.title for hit in results]


@pytest.mark.parametrize(
    ("sort", "expected"),
    [
        ("date", ["BLUE", "GREEN", "RED"]),
        ("-date", ["RED", "GREEN", "BLUE"]),
        ("title", ["BLUE", "GREEN", "RED"]),
        ("-title", ["RED", "GREEN", "BLUE"]),
        ("size", ["BLUE", "RED", "GREEN"]),
        ("-size", ["GREEN", "RED", "BLUE"]),
    ],
)
@pytest.mark.parametrize("text", ["green", ""])
def test_search__sorts(library: dict[str, Asset], text: str, sort: str, expected: list[str]) -> None:
    assert titles(mediasearch.search(text, sort=sort)) == expected
    assert titles(mediasearch.search(text, sort=sort, limit=1, offset=1)) == expected[1:2]


def test_search__sorts_the_best(library: dict[str, Asset], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answering, "DEEPEST", 1)
    assert titles(mediasearch.search("green", sort="date")) == ["GREEN"]


def test_search__an_unknown_order(library: dict[str, Asset]) -> None:
    with pytest.raises(QueryError, match="sorted by relevance, date"):
        mediasearch.search("red", sort="id; DROP TABLE")


def test_search__an_unknown_fusion(library: dict[str, Asset]) -> None:
    with pytest.raises(QueryError, match="no fusion 'borda'"):
        list(mediasearch.search("red", fusion="borda"))


@pytest.mark.parametrize("fusion", ["minmax", "dbsf", "arctan", "calibrated", "rrf"])
def test_search__each_fusion_finds_it_first(library: dict[str, Asset], fusion: str) -> None:
    hits = list(mediasearch.search("green", fusion=fusion))
    assert hits[0].asset == library["green"]
    for hit in hits:
        assert sum(evidence.share for evidence in hit.signals.values()) == pytest.approx(1.0 if hit.score else 0.0)


@pytest.mark.parametrize(
    ("boost", "first"), [({"recency": 5}, "RED"), ({"popularity": 20}, "BLUE"), ({}, "GREEN")], ids=str
)
@pytest.mark.parametrize("fusion", ["minmax", "rrf"])
def test_search__boosts_weigh(library: dict[str, Asset], boost: dict[str, float], first: str, fusion: str) -> None:
    results = mediasearch.search("green", weights={"image": 1, **boost}, fusion=fusion)
    assert titles(results)[0] == first
    assert set(results[0].signals) == {"image", *boost}
    assert results.total == 3
    for hit in results:
        assert sum(evidence.share for evidence in hit.signals.values()) == pytest.approx(1.0 if hit.score else 0.0)


def test_search__recency_counts_half_after_its_days(library: dict[str, Asset], settings: Any) -> None:
    settings.MEDIASEARCH = settings.MEDIASEARCH | {"RECENCY_DAYS": 365, "POPULAR": 200}
    hits = {
        hit.asset.title: hit for hit in mediasearch.search("red", weights={"image": 1, "recency": 1, "popularity": 1})
    }
    assert hits["RED"].signals["recency"].score == pytest.approx(0.5, abs=0.001)
    assert hits["GREEN"].signals["recency"].score == pytest.approx(0.25, abs=0.001)
    assert hits["GREEN"].signals["popularity"].score == pytest.approx(0.5)


def test_search__boosts_find_nothing(library: dict[str, Asset]) -> None:
    assert len(mediasearch.search("nowhere", weights={"text": 1, "recency": 1})) == 0


def test_hits__tell_which_words_match_and_where(library: dict[str, Asset]) -> None:
    words = [
        {"text": "Exits", "box": [0.1, 0.2, 0.3, 0.1], "confidence": 0.9, "line": 0},
        {"text": "A-12", "box": [0.5, 0.2, 0.1, 0.1], "confidence": 0.9, "line": 0},
        {"text": "nothing", "box": [0.7, 0.2, 0.1, 0.1], "confidence": 0.9, "line": 1},
    ]
    workers_write(Asset.objects.filter(pk=library["red"].pk), ocr_text="Exits A-12 nothing", ocr_words=words)
    hit = mediasearch.search("exit 12 missing", weights={"text": 1})[0]
    assert hit.words == {"exit": "exact", "12": "part"}  # What is stored has the stems, too.
    assert hit.boxes == ((0.1, 0.2, 0.3, 0.1), (0.5, 0.2, 0.1, 0.1))


def test_hits__words_that_match_elsewhere_have_no_box(library: dict[str, Asset]) -> None:
    hit = mediasearch.search("green")[0]
    assert hit.words == {"green": "exact"}
    assert hit.boxes == ()


def test_results__slices_beyond_the_limit_ask_again(library: dict[str, Asset]) -> None:
    results = mediasearch.search("green", limit=1)
    whole = list(mediasearch.search("green"))
    assert results[:1] == tuple(whole[:1])
    assert results[1:3] == tuple(whole[1:3])
    assert results[1:10] == tuple(whole[1:])
    assert results[3:3] == ()
    assert results.count() == 3
    assert len(results) == 1


def test_results__a_page_behind_the_last_still_has_its_total(library: dict[str, Asset]) -> None:
    results = mediasearch.search("green", offset=20)
    assert (list(results), results.total) == ([], 3)


@pytest.mark.django_db(transaction=True)
def test_asearch__is_the_same_for_coroutines(library: dict[str, Asset]) -> None:
    async def ask() -> list[Hit]:
        try:
            return list(await mediasearch.asearch("green"))
        finally:
            await sync_to_async(connections.close_all)()

    assert asyncio.run(ask()) == list(mediasearch.search("green"))
