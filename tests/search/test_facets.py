from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import connection

import mediasearch
from mediasearch.models import Asset, Generation
from mediasearch.search import facets
from tests.conftest import MakeAsset, workers_write

pytestmark = pytest.mark.django_db


def shown(found: facets.Facets, name: str) -> dict[str, int]:
    return {count.value: count.number for count in found[name]}


@pytest.fixture
def library(active_generation: Generation, make_asset: MakeAsset, index_all: Callable[[], None]) -> list[Asset]:
    taken = [datetime(2024, 5, 1, tzinfo=UTC), datetime(2025, 5, 1, tzinfo=UTC), None]
    assets = [
        make_asset("red", category="cars", tags=["old", "sea"], taken_at=taken[0]),
        make_asset("blue", category="cars", tags=["sea"], taken_at=taken[1]),
        make_asset("green", is_public=False, category="secret", tags=["hidden"], taken_at=taken[1]),
    ]
    index_all()
    workers_write(Asset.objects.filter(pk=assets[0].pk), width=100, height=200)
    workers_write(Asset.objects.filter(pk=assets[1].pk), width=100, height=101)
    return assets


def test_facets__count_what_may_be_seen(library: list[Asset]) -> None:
    found = mediasearch.search("red").facets
    assert shown(found, "category") == {"cars": 2}
    assert shown(found, "tags") == {"sea": 2, "old": 1}
    assert [count.value for count in found["tags"]] == ["sea", "old"]
    assert shown(found, "year") == {"2024": 1, "2025": 1}
    assert shown(found, "orientation") == {"portrait": 1, "square": 1}
    assert shown(found, "source") == {"library": 2}
    assert found.is_exact
    assert all(count.error == 0 for name in facets.NAMES for count in found[name])


def test_facets__count_matches_only(library: list[Asset]) -> None:
    Asset.objects.filter(pk=library[0].pk).update(title="harbour")
    assert shown(mediasearch.search("harbour", weights={"text": 1}).facets, "tags") == {"sea": 1, "old": 1}


def test_facets__of_filters_and_of_everything(library: list[Asset]) -> None:
    assert shown(mediasearch.search("red", tags=["old"]).facets, "year") == {"2024": 1}
    assert shown(mediasearch.search().facets, "tags") == {"sea": 2, "old": 1}


@pytest.mark.parametrize("scope", [Asset.objects.none(), Asset.objects.filter(title="nowhere")])
def test_facets__of_nothing(library: list[Asset], scope: Any) -> None:
    found = mediasearch.search("red", scope=scope).facets
    assert {name: found[name] for name in facets.NAMES} == dict.fromkeys(facets.NAMES, ())


def test_facets__of_much_are_estimates_with_their_error(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    many = [Asset(source="library", category=f"c{number**2 % 7}") for number in range(6_000)]
    Asset.objects.bulk_create(many)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE mediasearch_asset")
    settings.MEDIASEARCH = settings.MEDIASEARCH | {"EXACT_SCOPE": 100}
    monkeypatch.setattr(facets, "SAMPLE", 3_000)
    found = mediasearch.search().facets
    assert not found.is_exact
    for count in found["category"]:
        assert count.error > 0
        # Four times the half of a 95 % interval: one run in a thousand million would be outside of it.
        assert abs(count.number - Asset.objects.filter(category=count.value).count()) <= 4 * count.error
    assert {count.value for count in found["category"]} == {"c0", "c1", "c2", "c4"}
