from __future__ import annotations

from typing import Any

import pytest
from django.core.cache.backends.locmem import LocMemCache
from django.test import Client

import mediasearch
from mediasearch.exceptions import Crowded, QueryError
from mediasearch.features import local
from mediasearch.features.base import Question
from mediasearch.models import Generation
from mediasearch.search import cache, shares
from tests.conftest import MakeAsset


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1_000.0]
    monkeypatch.setattr(shares.time, "time", lambda: now[0])
    return now


@pytest.fixture
def questions(monkeypatch: pytest.MonkeyPatch) -> list[Question]:
    """What the encoder of questions is asked."""
    asked: list[Question] = []
    encode = local.Local.encode_texts

    def record(self: Any, question: Question, texts: Any) -> Any:
        asked.append(question)
        return encode(self, question, texts)

    monkeypatch.setattr(local.Local, "encode_texts", record)
    return asked


def test_rank__grows_with_what_a_client_asks(clock: list[float]) -> None:
    assert [shares.rank("a") for _ in range(12)] == [0, 0, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3]
    assert shares.rank("b") == 0
    clock[0] += shares.WINDOW
    assert shares.rank("a") == 0


def test_rank__without_a_cache_all_are_alike(clock: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Any, *args: Any, **kwargs: Any) -> None:
        raise ConnectionError("no route")

    monkeypatch.setattr(cache, "_closed_until", {})
    monkeypatch.setattr(LocMemCache, "add", fail)
    assert [shares.rank("a") for _ in range(12)] == [0] * 12


def test_search__the_client_or_else_the_user_asks(
    active_generation: Generation, make_asset: MakeAsset, questions: list[Question], clock: list[float], admin_user: Any
) -> None:
    make_asset("red")
    for number, asker in enumerate(({"client": "address 192.0.2.1"}, {"user": admin_user}, {})):
        list(mediasearch.search(f"red {number}", **asker))
    assert [question.client for question in questions] == ["address 192.0.2.1", f"user {admin_user.pk}", ""]


def test_search__what_is_cached_counts_nothing(
    active_generation: Generation, make_asset: MakeAsset, questions: list[Question], clock: list[float]
) -> None:
    make_asset("red")
    for _ in range(12):
        list(mediasearch.search("red", client="a"))
    list(mediasearch.search("blue", client="a"))
    assert [question.rank for question in questions] == [0, 0]


def test_search__a_crowd_is_answered_by_words_and_told_kindly(
    active_generation: Generation, make_asset: MakeAsset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: Any) -> None:
        raise Crowded

    monkeypatch.setattr(local.Local, "encode_texts", refuse)
    asset = make_asset("red", title="red")
    results = mediasearch.search("red", client="a")
    assert [hit.asset for hit in results] == [asset]
    assert {notice.reason for notice in results.degraded} == {
        "Many questions came from you at once, and this one was not encoded. Ask again in a moment."
    }


@pytest.mark.parametrize("page", ["/", "/admin/mediasearch/asset/"])
def test_pages__a_user_is_one_client_from_wherever_and_an_address_is_another(
    page: str, active_generation: Generation, make_asset: MakeAsset, questions: list[Question], admin_client: Any
) -> None:
    make_asset("red")
    for number in range(2):
        admin_client.get(page, {"q": f"red {number}"}, REMOTE_ADDR=f"192.0.2.{number}")
    assert len({question.client for question in questions}) == 1
    if page == "/":
        for number in range(2):  # Each without a session, so that it begins a new one.
            Client().get(page, {"q": f"blue {number}"}, REMOTE_ADDR="192.0.2.1")
        Client().get(page, {"q": "green"}, REMOTE_ADDR="192.0.2.2")
        assert [question.client for question in questions].count(questions[2].client) == 2
        assert len({question.client for question in questions}) == 3
    assert all(question.client for question in questions)


def test_search__a_client_is_a_name() -> None:
    with pytest.raises(QueryError, match="`client` is a str, not int"):
        mediasearch.search("red", client=7)
