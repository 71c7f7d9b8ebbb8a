"""Paging by cursor: every hit once, whatever happens meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser
from django.core.cache import cache
from django.core.paginator import Paginator

import mediasearch
from mediasearch.exceptions import QueryError
from mediasearch.models import Asset, Embedding, Generation
from mediasearch.search import walk
from tests.conftest import MakeAsset

pytestmark = pytest.mark.django_db
COLOURS = ("red", "green", "blue", "white")


@pytest.fixture
def library(active_generation: Generation, make_asset: MakeAsset, index_all: Callable[[], None]) -> list[Asset]:
    """Pictures of which each three have the same score."""
    assets = [make_asset(colour) for colour in COLOURS for _ in range(3)]
    index_all()
    return assets


def pages(limit: int = 5, **asked: Any) -> Iterator[list[int]]:
    cursor: str | None = ""
    while cursor is not None:
        results = mediasearch.search(limit=limit, cursor=cursor, **asked)
        yield [hit.asset.pk for hit in results]
        cursor = results.cursor


@pytest.mark.parametrize("window", [1_000, 5, 4, 3])
@pytest.mark.parametrize("asked", [{"text": "red"}, {}, {"text": "red", "sort": "-title"}])
def test_search__walks_through_everything_once(
    library: list[Asset], monkeypatch: pytest.MonkeyPatch, window: int, asked: dict[str, Any]
) -> None:
    monkeypatch.setattr(walk, "WINDOW", window)
    found = list(pages(**asked))
    ids = [pk for page in found for pk in page]
    assert sorted(ids) == sorted(asset.pk for asset in library)
    assert all(len(page) == 5 for page in found[:-1])
    assert found[-1]


def test_search__walks_in_the_order_of_the_whole(library: list[Asset]) -> None:
    assert [pk for page in pages(text="red") for pk in page] == [hit.asset.pk for hit in mediasearch.search("red")]


def test_search__each_once_while_others_are_added(
    library: list[Asset], monkeypatch: pytest.MonkeyPatch, make_asset: MakeAsset, index_all: Callable[[], None]
) -> None:
    monkeypatch.setattr(walk, "WINDOW", 4)
    ids: list[int] = []
    for page in pages(text="red", limit=3):
        ids += page
        if len(ids) < 12:
            make_asset("red")
            index_all()
    assert len(ids) == len(set(ids))
    assert {asset.pk for asset in library} <= set(ids)


def test_search__what_leaves_meanwhile_is_not_shown(library: list[Asset]) -> None:
    walked = pages(text="red")
    first = next(walked)
    hidden, deleted = [asset for asset in library if asset.pk not in first][:2]
    Asset.objects.filter(pk=hidden.pk).update(is_public=False)
    deleted.delete()
    rest = [pk for page in walked for pk in page]
    assert len(rest) == 5
    assert hidden.pk not in rest


def test_search__a_page_can_be_asked_again(library: list[Asset]) -> None:
    first = mediasearch.search("red", limit=5, cursor="")
    again = [[hit.asset.pk for hit in mediasearch.search("red", limit=5, cursor=first.cursor)] for _ in range(2)]
    assert again[0] == again[1]
    assert first.total == 12


def test_search__hits_of_later_pages_say_why_too(library: list[Asset]) -> None:
    Asset.objects.filter(pk=library[-1].pk).update(title="red herring")
    first = mediasearch.search("red", limit=1, cursor="")
    second = mediasearch.search("red", limit=5, cursor=first.cursor)
    whole = mediasearch.search("red", limit=6)
    assert list(second) == list(whole)[1:]
    assert second.outcome.words == ("red",)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"cursor": "nonsense"}, "no longer kept"),
        ({"cursor": "a" * 22 + ".5"}, "no longer kept"),
        ({"text": "blue"}, "another question"),
        ({"category": "cars"}, "another question"),
        ({"offset": 5}, "leave out the offset"),
    ],
)
def test_search__a_cursor_that_leads_nowhere(library: list[Asset], change: dict[str, Any], error: str) -> None:
    asked: dict[str, Any] = {"text": "red", "cursor": mediasearch.search("red", limit=5, cursor="").cursor}
    with pytest.raises(QueryError, match=error):
        list(mediasearch.search(**asked | change))


def test_search__a_cursor_is_of_use_to_its_user_alone(library: list[Asset]) -> None:
    eve, dan = (get_user_model().objects.create_user(name) for name in ("eve", "dan"))
    askers = [None, AnonymousUser(), eve, dan]
    for owner in askers:
        cursor = mediasearch.search("red", user=owner, limit=5, cursor="").cursor
        for asker in askers:
            asked = mediasearch.search("red", user=asker, limit=5, cursor=cursor)
            if owner == asker or not ((owner and owner.pk) or (asker and asker.pk)):
                assert len(asked) == 5
            else:
                with pytest.raises(QueryError, match=r"another user\. Search again"):
                    list(asked)


def test_search__an_expired_cursor_says_so(library: list[Asset]) -> None:
    cursor = mediasearch.search("red", limit=5, cursor="").cursor
    cache.clear()
    with pytest.raises(QueryError, match="no longer kept"):
        list(mediasearch.search("red", cursor=cursor))


def test_search__no_cursor_after_the_last(library: list[Asset]) -> None:
    assert mediasearch.search("red", limit=12, cursor="").cursor is None
    assert mediasearch.search("red", limit=5).cursor is None  # None was begun.


def test_results__go_with_djangos_paginator(library: list[Asset]) -> None:
    paginator = Paginator(mediasearch.search("red", limit=5), 5)
    assert (paginator.count, paginator.num_pages) == (12, 3)
    ids = [hit.asset.pk for page in paginator for hit in page.object_list]
    assert ids == [hit.asset.pk for hit in mediasearch.search("red")]


def test_search__beyond_the_best_the_order_goes_on(library: list[Asset], settings: Any) -> None:
    settings.MEDIASEARCH = settings.MEDIASEARCH | {"CANDIDATES": 2}
    scores = [hit.signals["image"].score for hit in mediasearch.search("red and a little green", weights={"image": 1})]
    assert scores == sorted(scores, reverse=True)
    assert Embedding.objects.count() == len(scores)
