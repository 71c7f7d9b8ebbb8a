"""`python -m benchmarks.degraded [--short] [--limited]`: searches while what encodes their questions fails.

A real query worker whose encoder raises, or hangs for 30 s; no query worker; the broker gone, with the cache in it; the
broker accepting connections and answering none; then half of the vectors, and none. A hundred questions, each asked for
the first time, in each of four ways: one after another; each as the first of a new process, which knows of no fault
yet; by eight people, who begin at the same moment; and the same through two processes of gunicorn. Those about a
picture besides go one by one. With `--limited` the page has its rate limit, and the eight people come through a proxy.
"""

from __future__ import annotations

import argparse
import io
import itertools
import logging
import random
import re
import time
import zlib
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from html import unescape
from typing import Any, TypeVar

import requests
from PIL import Image

from benchmarks.bars import Bars, Given, experiment
from benchmarks.faults import troubled
from benchmarks.faults.broker import _gone, _hanging
from benchmarks.faults.site import Site, await_processes, running, until
from benchmarks.site import percentile

ASSETS, PAGE, EACH, AT_ONCE, FIRST = 2_000, 24, 100, 8, 24
SHORT_EACH, SHORT_FIRST = 16, 4
BAR, HANGS, LOOKS = 1.0, 30.0, 1.0
WORDS = ("lamp", "tree", "harbour", "exit", "bridge", "market", "garden", "tower")
NUMBERS = 100
"""That titles bear, beside two words; questions have one more that nobody bears, so that none was asked before."""
ENCODER = {"BACKEND": "benchmarks.faults.troubled.Speechless"}
T = TypeVar("T")
_unheard = itertools.count(100_000)


@dataclass
class Asked:
    """What became of some searches."""

    seconds: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    """What is wrong with an answer, for each that is."""


def run(given: Given, bars: Bars) -> None:
    each, first = (SHORT_EACH, SHORT_FIRST) if given.short else (EACH, FIRST)
    settings: dict[str, Any] = {"ENCODER": ENCODER, "QUERY_ENCODER": {"BACKEND": "mediasearch.features.remote.Remote"}}
    settings |= {"PROXIES": 1, "RATE": "240/minute" if given.options.limited else None}
    faults: dict[str, Callable[[Site], Any]] = {
        "encoder raising": _raising,
        "encoder hanging": _stuck,
        "no query worker": _absent,
        "broker gone": _gone,
        "broker hanging": _hanging,
    }
    with running("worker-query", "web", settings=settings) as site:
        logging.disable()  # What is logged here is what this brings about.
        chance = random.Random(given.seed)
        _fill(chance)
        await_processes(site, "worker-query")
        _await_well(bars, "at the start")
        _renew_web(site, chance)
        _measure(bars, site, chance, "nothing wrong", each, first, _is_whole)
        for name, fault in faults.items():
            _renew_web(site, chance)
            with fault(site):
                _measure(bars, site, chance, name, each, first, _is_by_text)
            _await_well(bars, name)
        for share in (0.5, 0.0):
            _renew_web(site, chance)
            uncovered = _uncover(share)
            judge = _covers(uncovered) if share else _is_by_text
            _measure(bars, site, chance, f"{share:.0%} of the vectors", each, first, judge)


Judge = Callable[[str, Any], str]
"""Says what is wrong with a question's answer, afterwards."""


def _measure(
    bars: Bars,
    site: Site,
    chance: random.Random,
    name: str,
    each: int,
    first: int,
    judge: Judge,
) -> None:
    """Ask in every way, and hold what came of it to the bars."""
    ways: dict[str, Callable[[], Asked]] = {
        "one by one": lambda: _ask(_questions(chance, each), judge, 1),
        "first of a process": lambda: _ask(_questions(chance, first), judge, 1, anew=True),
        f"{AT_ONCE} people": lambda: _ask(_questions(chance, each), judge, AT_ONCE),
        "with a picture": lambda: _ask(_questions(chance, each), judge, 1, pictures=chance),
        "pages": lambda: _pages(site, _questions(chance, each), judge),
    }
    for way, ask in ways.items():
        _forget()
        asked = ask()
        p50, p95 = (percentile(asked.seconds, share) for share in (0.5, 0.95))
        bars.note(f"{name}, {way}: p50, longest, s", f"{p50:.3f}, {max(asked.seconds):.3f} of {len(asked.seconds)}")
        bars.at_most(f"{name}, {way}: p95", p95, BAR, " s")
        bars.equal(f"{name}, {way}: wrong answers", sorted(set(asked.wrong))[:3], [])


def _forget() -> None:
    """Have this process know as little of what is down as a new one."""
    from mediasearch.features import backends
    from mediasearch.search import cache

    backends._query_encoder.cache_clear()
    cache._closed_until.clear()


def _questions(chance: random.Random, number: int) -> list[str]:
    return [f"{chance.choice(WORDS)} {chance.randrange(NUMBERS)} {next(_unheard)}" for _ in range(number)]


def _ask(
    questions: Sequence[str], judge: Judge, at_once: int, *, anew: bool = False, pictures: random.Random | None = None
) -> Asked:
    def ask(question: str) -> tuple[float, Any]:
        if anew:
            _forget()
        image = _picture(pictures) if pictures else None
        began = time.monotonic()
        outcome = _search(question, image=image)
        return time.monotonic() - began, outcome

    answers = _all_at_once(ask, questions, at_once)
    wrong = [judge(question, outcome) for question, (_, outcome) in zip(questions, answers, strict=True)]
    return Asked([seconds for seconds, _ in answers], list(filter(None, wrong)))


def _search(question: str, among: Collection[int] | None = None, **more: Any) -> Any:
    import mediasearch
    from mediasearch.models import Asset

    scope = Asset.objects.all() if among is None else Asset.objects.filter(pk__in=among)
    return mediasearch.search(question, scope=scope, limit=more.pop("limit", PAGE), **more).outcome


def _by_text(question: str) -> list[int]:
    """Return what a search by text alone finds."""
    return [hit.asset.pk for hit in _search(question, weights={"text": 1.0}, limit=1_000).hits]


def _pages(site: Site, questions: Sequence[str], judge: Judge) -> Asked:
    """Ask the search page."""
    address = f"http://127.0.0.1:{site.port}/"

    def ask(question: str) -> tuple[float, requests.Response]:
        began = time.monotonic()
        page = _get(address, question)
        return time.monotonic() - began, page

    answers, asked = _all_at_once(ask, questions, AT_ONCE), Asked()
    for question, (seconds, page) in zip(questions, answers, strict=True):
        asked.seconds.append(seconds)
        said = unescape(page.text)
        if page.status_code != 200:
            asked.wrong.append(f"status {page.status_code}")
        if (judge is _is_whole) == ("did without some of its signals" in said):
            asked.wrong.append("a notice where nothing is wrong, or none where something is")
        shown = [int(pk) for pk in re.findall(r'class="ms-card" href="/image/(\d+)/"', said)]
        if judge is _is_by_text and shown != _by_text(question)[:PAGE]:
            asked.wrong.append("the page shows others than text alone finds")
    return asked


def _renew_web(site: Site, chance: random.Random) -> None:
    """Have web processes that know of no fault yet, and have answered some searches: the first ones load code."""
    site.supervisor.end("web")
    site.start("web")
    address = f"http://127.0.0.1:{site.port}/"
    until(lambda: _answers(address), 60.0)
    _all_at_once(lambda question: _get(address, question), _questions(chance, 24), AT_ONCE)


def _get(address: str, question: str) -> requests.Response:
    """Ask as one of the people, whom the proxy before the site names."""
    person = {"X-Forwarded-For": f"198.51.100.{zlib.crc32(question.encode()) % AT_ONCE}"}
    return requests.get(address, {"q": question}, headers=person, timeout=60.0)


def _all_at_once(ask: Callable[[str], T], questions: Sequence[str], at_once: int) -> list[T]:
    from django.db import connections

    if at_once == 1:
        return [ask(question) for question in questions]

    def ask_in_turn(number: int, question: str) -> T:
        if number >= at_once:  # The first of each ask at the same moment; later on, people also look at what they got.
            time.sleep(random.uniform(0.0, 2 * LOOKS))
        return ask(question)

    with ThreadPoolExecutor(at_once) as people:
        answers = list(people.map(ask_in_turn, itertools.count(), questions))
        list(people.map(lambda _: connections.close_all(), range(at_once)))
    return answers


def _picture(chance: random.Random) -> bytes:
    """Return a file that nobody asked with before."""
    stream = io.BytesIO()
    Image.frombytes("RGB", (64, 48), chance.randbytes(64 * 48 * 3)).save(stream, "PNG")
    return stream.getvalue()


def _answers(address: str) -> bool:
    try:
        return requests.get(address, timeout=5.0).ok
    except requests.RequestException:
        return False


# What an answer has to be. Each returns what is wrong, or nothing.


def _is_whole(question: str, outcome: Any) -> str:
    if outcome.notices:
        return f"{outcome.notices[0].signal} stepped aside: {outcome.notices[0].reason}"
    return "" if outcome.total == ASSETS else f"{outcome.total} of {ASSETS} found"


def _is_by_text(question: str, outcome: Any) -> str:
    by_text = _by_text(question)
    shown = [hit.asset.pk for hit in outcome.hits]
    right = shown == by_text[: len(shown)] and outcome.total == len(by_text) and len(shown) == min(PAGE, len(by_text))
    return _names_both(outcome) or ("" if right else "other hits than text alone finds")


def _covers(uncovered: set[int]) -> Judge:
    """What is asked where some have no vectors: those of them that text finds are found, and all the others."""

    def judge(question: str, outcome: Any) -> str:
        if outcome.uncoded != len(uncovered):
            return f"{outcome.uncoded} and not {len(uncovered)} are said to have no vectors"
        expected = {pk for pk in _by_text(question) if pk in uncovered}
        found = {hit.asset.pk for hit in _search(question, limit=1_000, among=uncovered).hits}
        if outcome.total != ASSETS - len(uncovered) + len(expected):
            return "another total than those with vectors, and those that text finds"
        return _names_both(outcome) or ("" if found == expected else "an uncovered picture is missing")

    return judge


def _names_both(outcome: Any) -> str:
    named = {notice.signal for notice in outcome.notices}
    if named != {"image", "caption"}:
        return f"named are {sorted(named)}"
    return "" if all(notice.reason.endswith(".") for notice in outcome.notices) else "a notice is no sentence"


# The library, and what goes wrong.


def _fill(chance: random.Random) -> None:
    import numpy as np

    from mediasearch.indexing import generations
    from mediasearch.models import Asset, Embedding

    generation = generations.ensure_active()
    assets = Asset.objects.bulk_create(
        Asset(source="library", title=" ".join([*chance.sample(WORDS, 2), str(chance.randrange(NUMBERS))]))
        for _ in range(ASSETS)
    )
    vectors = np.random.default_rng(3).normal(size=(2, ASSETS, generation.dimensions))
    vectors /= np.linalg.norm(vectors, axis=2, keepdims=True)
    Embedding.objects.bulk_create(
        Embedding(generation=generation, asset=asset, image=image, caption=caption)
        for asset, image, caption in zip(assets, *vectors, strict=True)
    )


def _uncover(share: float) -> set[int]:
    """Take vectors away until a share of the pictures has some; return the others."""
    from mediasearch.models import Asset, Embedding

    every = list(Asset.objects.order_by("pk").values_list("pk", flat=True))
    uncovered = {pk for place, pk in enumerate(every) if place % 2 or not share}
    Embedding.objects.filter(asset__in=uncovered).delete()
    return uncovered


@contextmanager
def _faltering(site: Site, how: str) -> Iterator[None]:
    flag = troubled.place(troubled.QUESTIONS)
    flag.write_text(how)
    yield
    flag.unlink()
    site.kill("worker-query")  # What hangs in it would go on to.
    time.sleep(2.0)
    await_processes(site, "worker-query")


def _raising(site: Site) -> Any:
    return _faltering(site, "raise")


def _stuck(site: Site) -> Any:
    return _faltering(site, str(HANGS))


@contextmanager
def _absent(site: Site) -> Iterator[None]:
    site.supervisor.end("worker-query")
    yield
    site.start("worker-query")
    await_processes(site, "worker-query")


def _await_well(bars: Bars, name: str) -> None:
    """Search until the vectors are back."""
    import mediasearch
    from mediasearch.models import Asset

    def well() -> bool:
        question = f"lamp {next(_unheard)}"
        return not mediasearch.search(question, scope=Asset.objects.all(), limit=1).degraded

    took = until(well, 60.0, every=0.2)
    bars.hold(f"{name}: s until searches are whole again", took, "comes about", took is not None)


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--limited", action="store_true", help="with the rate limit of the page")


if __name__ == "__main__":
    experiment(run, _options)
