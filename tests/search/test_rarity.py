"""Which matches of a question's words are looked at."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

import mediasearch
from mediasearch import fulltext
from mediasearch.models import Asset, Embedding, Generation
from mediasearch.search import rarity
from mediasearch.search.rarity import Few

pytestmark = pytest.mark.django_db


@pytest.fixture
def library(active_generation: Generation) -> list[Asset]:
    """A hundred lamps, thirty of them red, one of these in a garden; the last three have no vector."""
    titles = ["lamp"] * 70 + ["lamp red"] * 29 + ["lamp red garden"]
    made = Asset.objects.bulk_create(Asset(source="library", title=title) for title in titles)
    chance = np.random.default_rng(3)
    vectors = chance.normal(size=(len(made), 16))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    Embedding.objects.bulk_create(
        Embedding(generation=active_generation, asset=asset, image=vector.astype(np.float32))
        for asset, vector in list(zip(made, vectors, strict=True))[:-3]
    )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE mediasearch_asset, mediasearch_embedding")
    rarity._expected_of.cache_clear()  # What other tests' libraries had.
    return made


def chosen(words: str) -> Few | None:
    text = fulltext.query(words, "")
    assert text is not None
    return rarity.few(text, "default")


def found_by(few: Few) -> set[str]:
    with connection.cursor() as cursor:
        sql = f"SELECT DISTINCT title FROM mediasearch_asset WHERE text_vector @@ {few.query.text}"
        cursor.execute(sql, few.query.params)
        return {title for (title,) in cursor.fetchall()}


def test_few__all_matches_where_they_are_not_many(library: list[Asset]) -> None:
    assert chosen("lamp red garden") is None


def test_few__all_matches_of_a_single_word(library: list[Asset], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rarity, "MANY", 1)
    assert chosen("lamp") is None


def test_few__those_of_rare_words_and_those_that_have_two_of_the_others(
    library: list[Asset], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rarity, "MANY", 20)
    few = chosen("lamp garden red")
    assert few is not None
    assert few.missed == pytest.approx(1 / 9)
    assert found_by(few) == {"lamp red", "lamp red garden"}


def test_few__a_common_word_is_not_looked_for_beside_a_rare_one(
    library: list[Asset], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rarity, "MANY", 20)
    few = chosen("lamp garden")
    assert few is not None
    assert few.missed == pytest.approx(1 / 4)
    assert found_by(few) == {"lamp red garden"}


def test_few__what_is_missed_has_the_words_that_are_not_paired(
    library: list[Asset], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rarity, "MANY", 0)
    few = chosen("lamp garden red one two three")
    assert few is not None
    assert few.missed == pytest.approx((3 / 6) ** 2)


@pytest.mark.parametrize("words", ["lamp garden", "lamp garden red", "lamp red", "lamp garden unknown"])
def test_search__finds_the_same_among_few(
    library: list[Asset], words: str, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    settings.MEDIASEARCH = settings.MEDIASEARCH | {"EXACT_SCOPE": 1, "CANDIDATES": 20}
    wide = mediasearch.search(words, limit=10)
    expected = [(hit.asset.pk, pytest.approx(hit.score)) for hit in wide]
    monkeypatch.setattr(rarity, "MANY", 5)
    with CaptureQueriesContext(connection) as queries:
        found = [(hit.asset.pk, hit.score) for hit in mediasearch.search(words, limit=10)]
    assert wide.plan == "hnsw"
    assert any("few AS MATERIALIZED" in query["sql"] for query in queries)
    assert found == expected


def test_search__looks_at_all_where_a_few_do_not_fill_the_page(
    library: list[Asset], monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    settings.MEDIASEARCH = settings.MEDIASEARCH | {"EXACT_SCOPE": 1, "CANDIDATES": 200}
    monkeypatch.setattr(rarity, "MANY", 5)
    results = mediasearch.search("lamp garden", weights={"text": 1.0}, limit=50)
    assert len(results) == 50
    assert results[0].asset == library[-1]
    assert results.total == 100
