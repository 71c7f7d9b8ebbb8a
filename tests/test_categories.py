"""The categories that are offered: those that somebody sees an asset of, and no other."""

from __future__ import annotations

import random
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser

from mediasearch import categories
from mediasearch.categories import visible_categories
from mediasearch.models import Asset
from mediasearch.sources import registry
from mediasearch.sources.library import Library
from mediasearch.sources.registry import visible_parts, visible_to
from tests.conftest import MakeAsset
from tests.test_views import user

pytestmark = pytest.mark.django_db


def test_categories__are_those_of_the_querysets(make_asset: MakeAsset) -> None:
    for category, public in (("b", True), ("a", True), ("b", True), ("", True), ("c", False)):
        make_asset("red", category=category, is_public=public)
    assert visible_categories(None) == ["a", "b"]
    assert categories.categories([Asset.objects.all()]) == ["a", "b", "c"]
    assert categories.categories([Asset.objects.none()]) == []
    assert categories.categories([]) == []


def test_categories__are_the_first_of_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(categories, "MOST", 3)
    Asset.objects.bulk_create(Asset(category=name, is_public=name != "b") for name in "edcbaab")
    assert visible_categories(None) == ["a", "c", "d"]


@pytest.mark.parametrize("seed", range(5))
def test_visible_categories__are_those_that_can_be_seen(seed: int) -> None:
    chance = random.Random(seed)
    owners = [user("eve"), user("dan"), None]
    Asset.objects.bulk_create(
        Asset(
            source=chance.choice(["library", "gone"]),
            category=chance.choice(["", *"abcdefghij"]),
            is_public=chance.random() < 0.2,
            owner=chance.choice(owners),
        )
        for _ in range(30)
    )
    for who in (None, AnonymousUser(), *owners[:2], user("viewer", "view_asset")):
        seen = visible_to(who)
        assert visible_categories(who) == sorted({name for name in seen.values_list("category", flat=True) if name})
        together = {pk for part in visible_parts(who) for pk in part.values_list("pk", flat=True)}
        assert together == set(seen.values_list("pk", flat=True))


def test_visible_categories__of_a_source_that_narrows_another_are_its_own(
    make_asset: MakeAsset, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Narrower(Library):
        def visible_to(self, user: Any) -> Any:
            return super().visible_to(user).exclude(category="secret")

    monkeypatch.setitem(registry._sources, Library.slug, Narrower())
    make_asset("red", category="secret")
    make_asset("red", category="open")
    for who in (None, user("viewer", "view_asset")):
        assert visible_categories(who) == ["open"]
