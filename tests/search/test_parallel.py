"""Searches of one process at the same moment: none waits until another is through."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

import pytest
from asgiref.sync import sync_to_async
from asgiref.testing import ApplicationCommunicator
from django.core.asgi import get_asgi_application
from django.db import connections
from django.http import HttpRequest, JsonResponse
from django.urls import path

import mediasearch
from mediasearch.features.local import Local
from mediasearch.models import Generation
from tests.conftest import MakeAsset, picture

pytestmark = pytest.mark.django_db(transaction=True)
SECONDS = 5.0
Search = Callable[[str], Any]


class Meeting(Local):
    """Encodes one question when it is asked a second one meanwhile, and fails where none comes."""

    both: ClassVar[threading.Barrier]

    def encode_texts(self, *asked: Any) -> Any:
        self.both.wait(SECONDS)
        return super().encode_texts(*asked)

    def encode_images(self, *asked: Any) -> Any:
        self.both.wait(SECONDS)
        return super().encode_images(*asked)


@pytest.fixture(autouse=True)
def _library(settings: Any, active_generation: Generation, make_asset: MakeAsset, index_all: Any) -> None:
    for colour in ("red", "blue"):
        make_asset(colour, title=colour)
    index_all()
    settings.MEDIASEARCH = settings.MEDIASEARCH | {"QUERY_ENCODER": {"BACKEND": f"{__name__}.Meeting"}}
    settings.ROOT_URLCONF = __name__
    Meeting.both = threading.Barrier(2)


def closing(search: Search) -> Search:
    """Have a search's thread leave no connection to the test's database."""

    def searching(colour: str) -> Any:
        try:
            return search(colour)
        finally:
            connections.close_all()

    return searching


@pytest.mark.parametrize(
    "search",
    [
        lambda colour: mediasearch.search(colour).outcome,
        lambda colour: mediasearch.search(image=picture(colour)).outcome,
        lambda colour: mediasearch.describe(picture(colour)).told,
    ],
    ids=["words", "picture", "description"],
)
def test_search__two_threads_do_not_wait_for_each_other(search: Search) -> None:
    with ThreadPoolExecutor(2) as threads:
        for answer in threads.map(closing(search), ("red", "blue")):
            assert answer.notices == ()


# Through Django's ASGI handler


def answer(results: mediasearch.Results) -> JsonResponse:
    return JsonResponse({"title": results[0].asset.title, "degraded": len(results.degraded)})


def view(request: HttpRequest) -> JsonResponse:
    return answer(mediasearch.search(request.GET["q"]))


async def aview(request: HttpRequest) -> JsonResponse:
    return answer(await mediasearch.asearch(request.GET["q"]))


urlpatterns = [path("sync/", view), path("async/", aview)]


async def ask(address: str, colour: str) -> bytes:
    """Return what Django answers to one request, its middleware and its signals included."""
    scope = {"type": "http", "method": "GET", "path": address, "query_string": f"q={colour}".encode()}
    scope |= {"headers": [(b"host", b"testserver")]}
    client = ApplicationCommunicator(get_asgi_application(), scope)
    await client.send_input({"type": "http.request", "body": b""})
    await client.receive_output(2 * SECONDS)
    body: bytes = (await client.receive_output(1.0))["body"]
    await client.wait()
    return body


@pytest.mark.parametrize("address", ["/sync/", "/async/"])
def test_asgi__two_requests_do_not_wait_for_each_other(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Each request has a thread of its own, with which a connection that is kept open gets lost.
    monkeypatch.setitem(connections.settings["default"], "CONN_MAX_AGE", 0)

    async def both() -> Sequence[bytes]:
        return await asyncio.gather(ask(address, "red"), ask(address, "blue"))

    assert asyncio.run(both()) == [b'{"title": "red", "degraded": 0}', b'{"title": "blue", "degraded": 0}']


def test_search__several_of_one_request_as_the_docs_say() -> None:
    search = sync_to_async(closing(lambda colour: mediasearch.search(colour).outcome), thread_sensitive=False)

    async def both() -> Sequence[Any]:
        return await asyncio.gather(search("red"), search("blue"))

    assert [outcome.notices for outcome in asyncio.run(both())] == [(), ()]
