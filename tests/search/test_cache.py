from __future__ import annotations

import os
import pickle
import random
import secrets
from typing import Any

import pytest
import redis
from django.core.cache import caches
from django.core.cache.backends.locmem import LocMemCache
from django.core.management import call_command

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
    monkeypatch.setattr(LocMemCache, "get_many", fail)
    monkeypatch.setattr(LocMemCache, "set_many", fail)
    return heard


def test_get__what_was_kept() -> None:
    name = cache.key("a", "b")
    assert cache.get(cache.VECTORS, name) is None
    cache.keep(cache.VECTORS, name, b"c")
    assert cache.get(cache.VECTORS, name) == b"c"
    assert cache.get(cache.VECTORS, cache.key("ab")) is None
    assert cache.get(cache.PICTURES, name) is None


def test_get__a_cache_that_is_down_is_left_alone_for_a_while(
    asked: list[str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        assert cache.get(cache.VECTORS, "x") is None
        cache.keep(cache.VECTORS, "x", b"1")
    assert len(asked) == 1
    (told,) = [(record.event, record.cache, record.fault) for record in caplog.records if hasattr(record, "cache")]
    assert told == ("cache-down", "default", "ConnectionError")
    monkeypatch.setattr(cache, "_closed_until", {"default": 0.0})
    cache.get(cache.VECTORS, "x")
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
    cache.keep_many(cache.VECTORS, {"a": b"1", "b": b"2"})
    assert cache.get_many(cache.VECTORS, ["a", "b", "c"]) == {"a": b"1", "b": b"2"}
    assert cache.get(cache.VECTORS, "a") == b"1"


@pytest.mark.parametrize("length", [0, 1, 30, 31, 69, 70, 71, 139, 140, 300])
def test_get__an_entry_of_several_pieces(length: int) -> None:
    pool = cache.Pool("test", 20, 70)
    value = random.Random(length).randbytes(length)
    cache.keep(pool, "a", value)
    assert cache.get(pool, "a") == value


def test_keep__an_entry_longer_than_half_the_pool_is_not_kept() -> None:
    pool = cache.Pool("test", 20, 70)
    cache.keep(pool, "a", b"x" * 300)
    cache.keep(pool, "b", b"x" * 500)
    assert (cache.get(pool, "a"), cache.get(pool, "b")) == (b"x" * 300, None)


def test_get__an_entry_that_lost_a_piece_is_lost(settings: Any) -> None:
    pool = cache.Pool("test", 20, 70)
    cache.keep(pool, "a", b"x" * 300)
    for slot in list(pool.pieces("a", b"x" * 300)):
        cache.keep(pool, "a", b"x" * 300)
        assert cache.get(pool, "a") is not None
        caches["default"].delete(slot)
        assert cache.get(pool, "a") is None


def test_get__pieces_of_two_values_are_never_put_together() -> None:
    pool = cache.Pool("test", 20, 70)
    one, other = b"x" * 200, b"y" * 200
    cache.keep(pool, "a", one)
    last = list(pool.pieces("a", other).items())[-1:]
    caches["default"].set_many(dict(last))
    assert cache.get(pool, "a") is None


def test_get__what_shares_a_slot_is_told_apart() -> None:
    pool = cache.Pool("test", 4, 100)
    chance = random.Random(1)
    for _ in range(500):
        name = str(chance.randrange(50))
        cache.keep(pool, name, name.encode())
        assert cache.get(pool, name) == name.encode()
        other = str(chance.randrange(50))
        assert cache.get(pool, other) in (None, other.encode())


@pytest.mark.parametrize("pool", cache.POOLS, ids=lambda pool: pool.kind)
def test_keep__never_takes_more_slots_than_the_pool_has(pool: cache.Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    written: dict[str, bytes] = {}
    monkeypatch.setattr(LocMemCache, "set_many", lambda self, pieces, timeout: written.update(pieces))
    for number in range(4 * pool.slots):
        cache.keep(pool, str(number), bytes(number % (2 * pool.piece)))
    assert 0.9 * pool.slots < len(written) <= pool.slots
    assert max(map(len, written.values())) <= pool.piece


def test_count__adds_up_until_its_time_is_over() -> None:
    assert [cache.count("c", 1, 60), cache.count("c", 5, 60), cache.count("d", 1, 60)] == [1, 6, 1]
    caches["default"].delete("c")
    assert cache.count("c", 2, 60) == 2


@pytest.mark.parametrize("kind", ["redis.RedisCache", "locmem.LocMemCache", "db.DatabaseCache"])
def test_get__in_each_of_djangos_caches(kind: str, settings: Any, db: None) -> None:
    location = {"redis.RedisCache": os.environ["REDIS_URL"], "db.DatabaseCache": "cache_table"}.get(kind, "here")
    backend = {"BACKEND": f"django.core.cache.backends.{kind}", "LOCATION": location, "OPTIONS": {}}
    settings.CACHES = settings.CACHES | {"other": backend}
    settings.MEDIASEARCH = settings.MEDIASEARCH | {"CACHE": "other"}
    call_command("createcachetable", verbosity=0)
    value = random.Random(2).randbytes(100_000)
    cache.keep(cache.WINDOWS, kind, value)
    cache.keep_many(cache.VECTORS, {"a": b"1", "b": b"2"})
    assert cache.get(cache.WINDOWS, kind) == value
    assert cache.get_many(cache.VECTORS, ["a", "b"]) == {"a": b"1", "b": b"2"}
    name = cache.key(kind, secrets.token_hex())
    assert [cache.count(name, 2, 60), cache.count(name, 3, 60)] == [2, 5]


def test_pools__take_at_most_55_megabytes_of_valkey() -> None:
    """Each slot as full as it can be, in a server of its own, as MEMORY USAGE counts."""
    server = redis.Redis.from_url(os.environ["REDIS_URL"])
    taken = 0
    for pool in cache.POOLS:
        name = f":1:mediasearch:{pool.kind}:{pool.slots - 1}"
        server.set(name, pickle.dumps(os.urandom(pool.piece), pickle.HIGHEST_PROTOCOL), 60)
        taken += pool.slots * int(server.memory_usage(name) or 0)
        server.delete(name)
    assert 40e6 < taken <= 55e6


def test_describe__goes_on_without_its_cache(
    active_generation: Generation, make_asset: MakeAsset, index_all: Any, asked: list[str]
) -> None:
    make_asset("red", title="red", tags=["a red car"])
    index_all()
    assert {each.text for each in mediasearch.describe(picture("red"))} == {"red", "a red car"}
    assert asked
