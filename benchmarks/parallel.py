"""`python -m benchmarks.parallel [--short] [--pool] [--middleware]`: eight people search at the same moment.

They share one process. Each question is a new one, and its encoder takes 0.2 s: one after another, that would be five
searches a second, and eight side by side could be no more than forty. They are asked by threads, as a web server's do,
and as requests to Django's ASGI handler: of a view that only searches, and of one that awaits `mediasearch.asearch`.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import random
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any
from urllib.parse import urlencode

from asgiref.sync import sync_to_async
from asgiref.testing import ApplicationCommunicator
from django.http import HttpRequest, JsonResponse
from django.urls import path

from benchmarks import site
from benchmarks.bars import Bars, Given, experiment
from mediasearch.features.local import Local

ASSETS, QUESTIONS, SHORT_QUESTIONS, AT_ONCE, PAGE = 300, 40, 16, 8, 24
TAKES, BAR = 0.2, 20.0
COLOURS = ("black", "white", "red", "green", "blue", "yellow", "orange", "purple")
SETTINGS = {
    "ENCODER": {"BACKEND": "mediasearch.features.fake.FakeEncoder"},
    "QUERY_ENCODER": {"BACKEND": "benchmarks.parallel.Unhurried"},
}
Timed = tuple[float, Any]
_unheard = itertools.count()


class Unhurried(Local):
    """Takes its time, as a model does, without any of the processor's."""

    def encode_texts(self, *asked: Any) -> Any:
        time.sleep(TAKES)
        return super().encode_texts(*asked)


def view(request: HttpRequest) -> JsonResponse:
    return JsonResponse(_summary(_results(request.GET["q"])))


async def aview(request: HttpRequest) -> JsonResponse:
    import mediasearch

    return JsonResponse(_summary(await mediasearch.asearch(request.GET["q"], limit=PAGE)))


async def gathering(request: HttpRequest) -> JsonResponse:
    """Answer all questions of a request, as coroutines that are awaited together."""
    import mediasearch

    asked = (mediasearch.asearch(question, limit=PAGE) for question in request.GET.getlist("q"))
    return JsonResponse({"answers": [_summary(results) for results in await asyncio.gather(*asked)]})


async def gathering_threads(request: HttpRequest) -> JsonResponse:
    """Answer all questions of a request, each in a thread of its own."""
    search = sync_to_async(_search, thread_sensitive=False)
    answers = await asyncio.gather(*(search(question) for question in request.GET.getlist("q")))
    return JsonResponse({"answers": list(answers)})


urlpatterns = [
    path("view", view),
    path("aview", aview),
    path("gathering", gathering),
    path("gathering_threads", gathering_threads),
]


def run(given: Given, bars: Bars) -> None:
    os.environ["BENCH_WITHOUT_READING"] = "1"
    site.set_up(model=False)
    import django
    from django.db import connections
    from django.test.utils import override_settings

    from project.settings import MEDIASEARCH

    database = connections.settings["default"]
    # Under ASGI each request has a thread of its own, with which a connection that is kept open would get lost.
    database["CONN_MAX_AGE"] = 0
    if given.options.pool:
        connections.close_all()  # What setting up has opened comes from no pool.
        database["OPTIONS"] |= {"pool": {"max_size": AT_ONCE}}
    number = SHORT_QUESTIONS if given.short else QUESTIONS
    changed: dict[str, Any] = {"MEDIASEARCH": MEDIASEARCH | SETTINGS, "ROOT_URLCONF": __spec__.name}
    if not given.options.middleware:
        changed["MIDDLEWARE"] = []
    bars.note("Python, Django", f"{sys.version.split()[0]}, {django.__version__}")
    with override_settings(**changed):
        _fill(random.Random(given.seed))
        connections.close_all()  # A pool has one for each of the eight, and none for who only waits.
        with ThreadPoolExecutor(AT_ONCE) as threads:
            _measure(bars, f"{AT_ONCE} threads", number, lambda questions: _by_threads(questions, threads))
            each = threading.Barrier(AT_ONCE)  # A pool misses a connection that its thread does not give back.
            list(threads.map(lambda _: (each.wait(10), connections.close_all()), range(AT_ONCE)))
        for name, address in (("a view", "/view"), ("a view that awaits asearch", "/aview")):
            _measure(bars, f"ASGI, {name}", number, lambda questions, to=address: _by_requests(to, questions))
        for name, address in (("asearch", "/gathering"), ("threads", "/gathering_threads")):
            _note_gathered(bars, name, address)
    if given.options.pool:
        connections["default"].close_pool()  # type: ignore[attr-defined]


def _measure(bars: Bars, name: str, number: int, ask: Callable[[Sequence[str]], list[Timed]]) -> None:
    """Ask so many questions and hold the searches a second to the bar."""
    ask(_questions(AT_ONCE))  # The first ones load code.
    began, worked = time.monotonic(), time.process_time()
    answers = ask(_questions(number))
    took, worked = time.monotonic() - began, time.process_time() - worked
    seconds = [one for one, _ in answers]
    bars.at_least(f"{name}: searches a second", number / took, BAR)
    p50, p95 = (site.percentile(seconds, share) for share in (0.5, 0.95))
    bars.note(f"{name}: p50, p95, longest, s", f"{p50:.3f}, {p95:.3f}, {max(seconds):.3f} of {number}")
    bars.note(f"{name}: this process's processor time for each, ms", f"{1_000 * worked / number:.1f}")
    wrong = [answer for _, answer in answers if answer != {"hits": PAGE, "total": ASSETS, "degraded": []}]
    bars.equal(f"{name}: wrong answers", wrong[:3], [])


def _note_gathered(bars: Bars, name: str, address: str) -> None:
    ((seconds, _),) = asyncio.run(_at_once([_request(address, _questions(AT_ONCE))], 1))
    bars.note(f"{AT_ONCE} questions gathered in one request, {name}: s", seconds)


def _questions(number: int) -> list[str]:
    return [f"{COLOURS[place % len(COLOURS)]} {next(_unheard)} {time.time_ns()}" for place in range(number)]


def _results(question: str) -> Any:
    import mediasearch

    return mediasearch.search(question, limit=PAGE)


def _summary(results: Any) -> dict[str, Any]:
    degraded = [notice.reason for notice in results.degraded]
    return {"hits": len(results), "total": results.total, "degraded": degraded}


def _search(question: str) -> dict[str, Any]:
    """Search in a thread that Django knows nothing of, and leave no connection in it."""
    from django.db import connections

    try:
        return _summary(_results(question))
    finally:
        connections.close_all()


def _by_threads(questions: Sequence[str], threads: ThreadPoolExecutor) -> list[Timed]:
    """Ask in threads that keep their connections, as those of a web server do."""

    def ask(question: str) -> Timed:
        began = time.monotonic()
        answer = _summary(_results(question))
        return time.monotonic() - began, answer

    return list(threads.map(ask, questions))


def _by_requests(address: str, questions: Sequence[str]) -> list[Timed]:
    return asyncio.run(_at_once([_request(address, [question]) for question in questions], AT_ONCE))


async def _at_once(requests: Sequence[Callable[[], Awaitable[Any]]], number: int) -> list[Timed]:
    """Send requests, so many at once."""
    turn = asyncio.Semaphore(number)

    async def timed(request: Callable[[], Awaitable[Any]]) -> Timed:
        async with turn:
            began = time.monotonic()
            answer = await request()
            return time.monotonic() - began, answer

    return list(await asyncio.gather(*map(timed, requests)))


def _request(address: str, questions: Sequence[str]) -> Callable[[], Awaitable[Any]]:
    query = urlencode({"q": list(questions)}, doseq=True).encode()
    return lambda: _send(address, query)


async def _send(address: str, query: bytes) -> Any:
    """Return the JSON that Django's ASGI handler answers."""
    scope = {"type": "http", "method": "GET", "path": address, "query_string": query}
    client = ApplicationCommunicator(_handler(), scope | {"headers": [(b"host", b"localhost")]})
    await client.send_input({"type": "http.request", "body": b""})
    status = (await client.receive_output(60.0))["status"]
    body = (await client.receive_output(60.0))["body"]
    await client.wait(60.0)
    return json.loads(body) if status == 200 else {"status": status}


@cache
def _handler() -> Any:
    from django.core.asgi import get_asgi_application

    return get_asgi_application()


def _fill(chance: random.Random) -> None:
    from mediasearch.features.fake import FakeEncoder
    from mediasearch.indexing import generations
    from mediasearch.models import Asset, Embedding

    generation = generations.ensure_active()
    titles = [" ".join(chance.choices(COLOURS, k=3)) for _ in range(ASSETS)]
    assets = Asset.objects.bulk_create(Asset(source="library", title=title, is_public=True) for title in titles)
    Embedding.objects.bulk_create(
        Embedding(generation=generation, asset=asset, image=vector, caption=vector)
        for asset, vector in zip(assets, FakeEncoder().encode_texts(titles), strict=True)
    )


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--pool", action="store_true", help="with psycopg's pool of connections")
    parser.add_argument("--middleware", action="store_true", help="with the demo site's middleware around the views")


if __name__ == "__main__":
    experiment(run, add_options)
