"""How often a client may ask the page."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from mediasearch import limits
from mediasearch.search import cache
from tests.conftest import picture
from tests.test_views import HOME, text_of, user

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _three_an_hour(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.MEDIASEARCH = settings.MEDIASEARCH | {"RATE": "3/hour"}
    monkeypatch.setattr(limits.time, "time", lambda: 36_000_000.0 + 600.0)


def statuses(client: Client, number: int, **headers: Any) -> list[int]:
    return [client.get(HOME, {"q": "red"}, **headers).status_code for _ in range(number)]


def test_search__more_than_the_rate_is_asked_to_wait(client: Client) -> None:
    assert statuses(client, 4) == [200, 200, 200, 429]
    page = client.get(HOME, {"q": "red <b>", "tag": ["sea", "evening"], "after": "2026-01-31"})
    assert (page.headers["Retry-After"], page.headers["Cache-Control"]) == ("3001", "no-store")
    html = text_of(page)
    assert "Search again in 3001 seconds." in html
    assert 'name="q" value="red &lt;b&gt;"' in html
    for name, value in (("tag", "sea"), ("tag", "evening"), ("after", "2026-01-31")):
        assert f'name="{name}" value="{value}"' in html


def test_search__goes_on_in_the_next_period(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    assert statuses(client, 4)[-1] == 429
    monkeypatch.setattr(limits.time, "time", lambda: 36_003_600.0)
    assert statuses(client, 1) == [200]


def test_search__clients_are_counted_apart(client: Client) -> None:
    assert statuses(client, 4)[-1] == 429
    assert statuses(client, 1, REMOTE_ADDR="192.0.2.9") == [200]
    client.force_login(user("eve"))
    assert statuses(client, 4) == [200, 200, 200, 429]
    assert statuses(client, 1, REMOTE_ADDR="192.0.2.9") == [429]  # A user is the same one everywhere.


def test_search__a_new_session_is_no_new_client() -> None:
    assert [statuses(Client(), 1) for _ in range(4)] == [[200], [200], [200], [429]]


def test_search__visitors_behind_a_named_proxy(client: Client, settings: Any) -> None:
    settings.MEDIASEARCH = settings.MEDIASEARCH | {"PROXIES": 1}
    assert statuses(client, 4, HTTP_X_FORWARDED_FOR="198.51.100.7") == [200, 200, 200, 429]
    assert statuses(client, 1, HTTP_X_FORWARDED_FOR="198.51.100.8") == [200]
    assert statuses(client, 1, HTTP_X_FORWARDED_FOR="1.2.3.4, 198.51.100.7") == [429]


def test_search__nobody_is_refused_for_others_behind_an_unnamed_proxy(
    client: Client, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "_proxy_warnings", set())
    with caplog.at_level(logging.WARNING):
        assert statuses(client, 5, HTTP_X_FORWARDED_FOR="198.51.100.7") == [200] * 5
    assert [getattr(record, "event", "") for record in caplog.records].count("proxy-unnamed") == 1


def test_search__a_picture_counts_for_several(client: Client, settings: Any) -> None:
    settings.MEDIASEARCH = settings.MEDIASEARCH | {"RATE": "6/hour"}
    upload = {"upload": SimpleUploadedFile("a.png", picture()), "q": "red"}
    assert client.post(HOME, upload).status_code == 200
    assert statuses(client, 2) == [200, 429]
    page = client.post(HOME, {"upload": SimpleUploadedFile("a.png", picture()), "q": "red"})
    assert page.status_code == 429
    assert 'name="q" value="red"' in text_of(page)
    assert "Choose your picture again then." in text_of(page)


def test_search__one_picture_is_within_every_rate(client: Client) -> None:
    assert client.post(HOME, {"upload": SimpleUploadedFile("a.png", picture())}).status_code == 200


def test_search__without_a_rate_all_are_answered(client: Client, settings: Any) -> None:
    settings.MEDIASEARCH = settings.MEDIASEARCH | {"RATE": None}
    assert statuses(client, 6) == [200] * 6


def test_search__without_a_cache_all_are_answered(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "_ask", lambda what: None)
    assert statuses(client, 6) == [200] * 6


def test_limited__asks_nothing_of_the_database(client: Client, django_assert_num_queries: Any) -> None:
    statuses(client, 3)
    with django_assert_num_queries(0):
        assert statuses(client, 1) == [429]
