from __future__ import annotations

from typing import Any

import pytest
from django.core.cache.backends.locmem import LocMemCache

import mediasearch
from mediasearch.models import Generation
from mediasearch.search import cache
from tests.conftest import MakeAsset, picture


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a cache was asked for that never answers."""
    heard: list[str] = []

    def fail(self: Any, *args: Any, **kwargs: Any) -> None:
        heard.append("asked")
        raise ConnectionError("no route")

    monkeypatch.setattr(cache, "_closed_until", {})
    monkeypatch.setattr(LocMemCache, "get", fail)
    monkeypatch.setattr(LocMemCache, "set", fail)
    return heard


def test_get__what_was_kept() -> None:
    name = cache.key("a", "b")
    assert cache.get(name) is None
    cache.keep(name, {"c": 1})
    assert cache.get(name) == {"c": 1}
    assert cache.get(cache.key("ab")) is None


def test_get__a_cache_that_is_down_is_left_alone_for_a_while(
    asked: list[str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        assert cache.get("x") is None
        cache.keep("x", 1)
    assert len(asked) == 1
    (told,) = [(record.event, record.cache, record.fault) for record in caplog.records if hasattr(record, "cache")]
    assert told == ("cache-down", "default", "ConnectionError")
    monkeypatch.setattr(cache, "_closed_until", {"default": 0.0})
    cache.get("x")
    assert len(asked) == 2


def test_search__goes_on_without_its_cache(
    active_generation: Generation, make_asset: MakeAsset, index_all: Any, asked: list[str]
) -> None:
    asset = make_asset("red", title="blue")
    index_all()
    for question in ({"image": picture("red")}, {"text": "blue"}, {"text": "blue", "image": picture("red")}):
        assert mediasearch.search(**question)[0].asset == asset
    assert asked


def test_get_many__what_was_kept() -> None:
    cache.keep_many({"a": b"1", "b": b"2"})
    assert cache.get_many(["a", "b", "c"]) == {"a": b"1", "b": b"2"}
    assert cache.get("a") == b"1"


def test_describe__goes_on_without_its_cache(
    active_generation: Generation, make_asset: MakeAsset, index_all: Any, asked: list[str]
) -> None:
    make_asset("red", title="red", tags=["a red car"])
    index_all()
    assert {each.text for each in mediasearch.describe(picture("red"))} == {"red", "a red car"}
    assert asked
