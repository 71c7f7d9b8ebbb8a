"""`python -m benchmarks.faults.crowding [--seed N] [--short]`: one client asks more than the query worker can encode.

Two processes of gunicorn with four threads each and one query worker, whose encoder takes for a text what CLIP's text
tower takes without a GPU. Others, each from an address of their own, ask one new question a second together. Beside
them one client asks three, and then twenty: anonymous and from one address, and logged in from a hundred. Counted are
the others' answers that did without vectors.
"""

from __future__ import annotations

import itertools
import random
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from html import unescape

import requests

from benchmarks.bars import Bars, Given, experiment
from benchmarks.degraded import WORDS, _answers
from benchmarks.faults.site import Site, await_processes, running, until
from benchmarks.site import percentile

TAKES = 0.17
"""Seconds for a text: ViT-B-32's text tower takes 0.15 to 0.2 on two shared cores."""
SECONDS, SHORT_SECONDS = 60.0, 6.0
ASSETS = 200
"""Few, as it is not the statement that is measured."""
OTHERS, VISITORS, ADDRESSES = 1.0, 20, 100
"""Questions a second of all others together, how many these are, and from how many addresses one user comes."""
BAR, SHORT_BAR = 0.05, 0.34
"""The share of the others' questions that may go without vectors; a few seconds hold too few questions for less."""
_REASON = re.compile(r"<li><strong>[^<]*</strong> (.*?)</li>")
"""Why a page did without a signal, as it says so."""
Headers = Mapping[str, str]
_unheard = itertools.count(100_000)


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one question."""

    seconds: float
    status: int
    reason: str
    """Why it did without vectors; "" where it did not."""


def run(given: Given, bars: Bars) -> None:
    seconds = SHORT_SECONDS if given.short else SECONDS
    settings = {
        "ENCODER": {"BACKEND": "benchmarks.faults.encoders.Deliberate", "OPTIONS": {"seconds": TAKES}},
        "QUERY_ENCODER": {"BACKEND": "mediasearch.features.remote.Remote"},
        "PROXIES": 1,
    }
    with running("worker-query", "web", settings=settings) as site:
        _fill()
        user = _logged_in()
        await_processes(site, "worker-query")
        address = f"http://127.0.0.1:{site.port}/"
        until(lambda: _answers(address), 60.0)
        until(lambda: not _ask(address, _from("192.0.2.1")).reason, 60.0)
        crowds: dict[str, tuple[float, Callable[[int], Headers]]] = {
            "nobody else": (0.0, lambda _: {}),
            "3 a second, anonymous": (3.0, lambda _: _from("198.51.100.7")),
            "20 a second, anonymous": (20.0, lambda _: _from("198.51.100.7")),
            "20 a second, logged in": (20.0, lambda number: user | _from(f"198.51.100.{number % ADDRESSES}")),
        }
        for name, (rate, client) in crowds.items():
            if not given.short or rate > 3.0:
                chance = random.Random(f"{given.seed} {name}")
                _measure(bars, site, name, chance, seconds, rate, client, SHORT_BAR if given.short else BAR)


def _measure(
    bars: Bars,
    site: Site,
    name: str,
    chance: random.Random,
    seconds: float,
    rate: float,
    client: Callable[[int], Headers],
    bar: float,
) -> None:
    """Have one client and all others ask side by side, and hold what came of it to the bars."""
    address = f"http://127.0.0.1:{site.port}/"
    crowd: list[Answer] = []
    crowding = threading.Thread(
        target=lambda: crowd.extend(_ask_all(address, _steadily(rate, seconds + 1.0) if rate else (), client))
    )
    crowding.start()
    time.sleep(1.0)  # The client is at it before others come.
    others = _ask_all(
        address, _by_chance(chance, OTHERS, seconds), lambda number: _from(f"203.0.113.{1 + number % VISITORS}")
    )
    crowding.join()
    for who, answers in (("others", others), ("the client", crowd)):
        if answers:
            spent = sorted(answer.seconds for answer in answers)
            reasons = Counter(answer.reason for answer in answers if answer.reason)
            without = sum(reasons.values())
            bars.note(
                f"{name}: {who}: questions, without vectors, p50 s, p95 s",
                f"{len(answers)}, {without} ({without / len(answers):.0%}), {percentile(spent, 0.5):.3f},"
                f" {percentile(spent, 0.95):.3f}",
            )
            for reason, number in reasons.most_common(3):
                bars.note(f"{name}: {who}: of these", f"{number}: {reason}")
    share = sum(bool(answer.reason) for answer in others) / len(others)
    bars.at_most(f"{name}: others without vectors, of all", share, bar)
    refused = sum(answer.status != 200 for answer in [*others, *crowd])
    bars.equal(f"{name}: answers that are errors", refused, 0)


def _ask_all(address: str, moments: Iterator[float] | tuple[()], client: Callable[[int], Headers]) -> list[Answer]:
    """Ask a question at each moment, in seconds from now, whether or not those before were answered."""
    began, asked = time.monotonic(), list[Future[Answer]]()
    with ThreadPoolExecutor(256) as people:
        for number, moment in enumerate(moments):
            time.sleep(max(0.0, began + moment - time.monotonic()))
            asked.append(people.submit(_ask, address, client(number)))
        return [answer.result() for answer in asked]


def _ask(address: str, headers: Headers) -> Answer:
    """Ask what nobody asked before."""
    question = f"{random.choice(WORDS)} {next(_unheard)}"
    began = time.monotonic()
    page = requests.get(address, {"q": question}, headers=headers, timeout=60.0)
    reason = _REASON.search(unescape(page.text))
    return Answer(time.monotonic() - began, page.status_code, reason[1] if reason else "")


def _steadily(rate: float, seconds: float) -> Iterator[float]:
    return (number / rate for number in range(int(rate * seconds)))


def _by_chance(chance: random.Random, rate: float, seconds: float) -> Iterator[float]:
    """As people come who know nothing of each other; one at the least."""
    moment = 0.0
    while moment < seconds:
        yield moment
        moment += chance.expovariate(rate)


def _fill() -> None:
    from mediasearch.features.fake import FakeEncoder
    from mediasearch.indexing import generations
    from mediasearch.models import Asset, Embedding

    generation = generations.ensure_active()
    titles = [f"{word} {number}" for word in WORDS for number in range(ASSETS // len(WORDS))]
    assets = Asset.objects.bulk_create(Asset(source="library", title=title) for title in titles)
    Embedding.objects.bulk_create(
        Embedding(generation=generation, asset=asset, image=vector, caption=vector)
        for asset, vector in zip(assets, FakeEncoder().encode_texts(titles), strict=True)
    )


def _from(address: str) -> dict[str, str]:
    return {"X-Forwarded-For": address}


def _logged_in() -> dict[str, str]:
    """Return the cookie of a user who is logged in."""
    from django.contrib.auth.models import User
    from django.test import Client

    browser = Client()
    browser.force_login(User.objects.create_user("crowd"))
    return {"Cookie": f"sessionid={browser.cookies['sessionid'].value}"}


if __name__ == "__main__":
    experiment(run)
