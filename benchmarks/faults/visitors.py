"""`python -m benchmarks.faults.visitors [--seconds 300] [--short]`: one visitor's slow pictures, and all the others.

Two processes of gunicorn with four threads each, a real query worker. Once a second somebody searches with a JPEG of
1,000 scans or with the slowest file of a format, in turn, whether or not an answer came; others search with words that
nobody asked before. Then, on the quiet site, ordinary JPEGs of 50 megapixels are searched with, one after another.
"""

from __future__ import annotations

import argparse
import io
import itertools
import logging
import random
import re
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from html import unescape

import requests

from benchmarks import degraded
from benchmarks.bars import Bars, Given, experiment
from benchmarks.faults import slow
from benchmarks.faults.browser import Browser, File
from benchmarks.faults.site import ROOT, await_processes, running, until
from benchmarks.site import percentile
from mediasearch.features.fake import FakeEncoder

SECONDS, SHORT_SECONDS, EVERY = 300.0, 8.0, 1.0
PEOPLE, LOOKS, PATIENCE = 4, 1.0, 30.0
ORDINARY, SHORT_ORDINARY = 30, 6
REFUSED, OTHERS = 3.0, 1.0
SHORT_QUESTION = 6.0
"""Seconds for opening a picture on a machine that may be busy with other tests."""
SIDE, SHORT_SIDE = 7_071, 2_000
"""Pixels of an ordinary picture's sides: 50 megapixels, and 4 in the short form."""
PHOTOGRAPHS = ROOT.parent / "shared" / "data" / "photos-cc" / "images"


class Seeing(FakeEncoder):
    """The fake encoder with the input of a real one, on which it depends how far a picture is reduced."""

    @property
    def input_size(self) -> int:
        return 224


@dataclass
class Visits:
    """What became of some requests: seconds and status of each, and what is wrong with an answer."""

    seconds: list[float] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    said: list[str] = field(default_factory=list)


def run(given: Given, bars: Bars) -> None:
    length = SHORT_SECONDS if given.short else given.options.seconds
    settings = {
        "ENCODER": {"BACKEND": "benchmarks.faults.visitors.Seeing"},
        "QUERY_ENCODER": {"BACKEND": "mediasearch.features.remote.Remote"},
        **({"QUESTION_SECONDS": SHORT_QUESTION} if given.short else {}),
    }
    files = slow_files()
    with running("worker-query", "web", settings=settings) as site:
        logging.disable()
        degraded._fill(random.Random(given.seed))
        await_processes(site, "worker-query")
        address = f"http://127.0.0.1:{site.port}/"
        until(lambda: degraded._answers(address), 60.0)
        quiet = _others(address, length / 4, lambda: None)
        bars.note("others, before: p50, p95, s", _shares(quiet))
        posted: dict[str, Visits] = defaultdict(Visits)
        others = _others(address, length, lambda: _post_in_turn(site.port, files, length, posted))
        _judge_slow(posted, bars)
        _judge_others(others, bars)
        _ask_with_ordinary(site.port, given, bars)


def slow_files() -> dict[str, bytes]:
    """Return the JPEG that was found first, and the slowest of each format."""
    return {"1,000 scans": slow.many_scans(), **{name: slow.file(name) for name in slow.SLOWEST}}


def _post_in_turn(port: int, files: dict[str, bytes], length: float, posted: dict[str, Visits]) -> None:
    """Search with one of the files every second; each request has a thread, as it has a connection of its own."""
    visitor = _visitor(port)
    threads = []
    until_end, started = time.monotonic() + length, itertools.count()
    for name, content in itertools.cycle(files.items()):
        if time.monotonic() > until_end:
            break
        content += bytes(next(started) % 251 + 1)  # Behind the picture, so that it is another file each time.
        threads.append(threading.Thread(target=_post, args=(visitor, content, posted[name])))
        threads[-1].start()
        time.sleep(EVERY)
    for thread in threads:
        thread.join()


def _visitor(port: int) -> Browser:
    visitor = Browser(port)
    visitor.get("/")
    return visitor


def _post(visitor: Browser, content: bytes, visits: Visits) -> None:
    began = time.monotonic()
    try:
        answer = visitor.post("/", {"q": "lamp"}, [("upload", File("mine.jpg", content))])
    except OSError as error:
        visits.said.append(f"no answer: {error}")
        visits.statuses.append(0)
    else:
        refusals = [words for kind, words in answer.told() if kind == "error"]
        visits.said.append(refusals[0] if refusals else "opened")
        visits.statuses.append(answer.status)
    visits.seconds.append(time.monotonic() - began)


def _others(address: str, length: float, meanwhile: Callable[[], None]) -> Visits:
    """Have people search with words, each anew when there was an answer, for so long and while something goes on."""
    visits, end = Visits(), threading.Event()
    chance = random.Random(7)
    people = [threading.Thread(target=_search, args=(address, visits, end, chance)) for _ in range(PEOPLE)]
    for person in people:
        person.start()
    began = time.monotonic()
    meanwhile()
    time.sleep(max(0.0, began + length - time.monotonic()))
    end.set()
    for person in people:
        person.join()
    return visits


def _search(address: str, visits: Visits, end: threading.Event, chance: random.Random) -> None:
    while not end.wait(chance.uniform(0.0, 2 * LOOKS)):
        (question,) = degraded._questions(chance, 1)
        began = time.monotonic()
        try:
            page = requests.get(address, {"q": question}, timeout=PATIENCE)
        except requests.RequestException:
            visits.statuses.append(0)
        else:
            visits.statuses.append(page.status_code)
            if "did without some of its signals" in unescape(page.text):
                visits.said.append("without vectors")
        visits.seconds.append(time.monotonic() - began)


def _judge_slow(posted: dict[str, Visits], bars: Bars) -> None:
    for name, visits in posted.items():
        slowest = max(visits.seconds)
        outcomes = {re.sub(r"[\d,.]+", "N", words) for words in visits.said}
        bars.note(f"{name}: of {len(visits.seconds)}", "; ".join(sorted(outcomes)))
        bars.at_most(f"{name}: answered after at most", slowest, REFUSED, " s")
    statuses = {status for visits in posted.values() for status in visits.statuses}
    bars.hold("their statuses", sorted(statuses), "200 and 503", statuses <= {200, 503})


def _judge_others(others: Visits, bars: Bars) -> None:
    bars.note("others meanwhile: p50, p95, s", _shares(others))
    bars.at_most("others: p95", percentile(others.seconds, 0.95), OTHERS, " s")
    bars.note("others: longest, s", max(others.seconds))
    bars.equal("others: time-outs and errors", [status for status in others.statuses if status != 200], [])
    bars.note("others: answered without vectors", f"{len(others.said)} of {len(others.seconds)}")


def _shares(visits: Visits) -> str:
    p50, p95 = (percentile(visits.seconds, share) for share in (0.5, 0.95))
    return f"{p50:.3f}, {p95:.3f} of {len(visits.seconds)}"


def _ask_with_ordinary(port: int, given: Given, bars: Bars) -> None:
    visitor, taken = _visitor(port), Visits()
    number, side = (SHORT_ORDINARY, SHORT_SIDE) if given.short else (ORDINARY, SIDE)
    slowest = (0.0, "")
    for name, content in itertools.islice(ordinary(side), number):
        _post(visitor, content, taken)
        slowest = max(slowest, (taken.seconds[-1], name))
    bars.note(
        "ordinary JPEGs: p50, longest, s", f"{percentile(taken.seconds, 0.5):.2f}, {slowest[0]:.2f}: {slowest[1]}"
    )
    bars.equal("ordinary JPEGs that were taken", sum(said == "opened" for said in taken.said), number)
    if refused := sorted({said for said in taken.said if said != "opened"}):
        bars.note("why others were not", "; ".join(refused))


def ordinary(side: int) -> Iterator[tuple[str, bytes]]:
    """Yield JPEGs as cameras and editors write them, without an end: each way, then each way of the next picture."""
    for number in itertools.count():
        picture = _photograph(number, side)
        for mode, progressive in itertools.product(("4:4:4", "4:2:0", "CMYK"), (False, True)):
            image = picture.convert("CMYK") if mode == "CMYK" else picture
            options = {} if mode == "CMYK" else {"subsampling": mode}
            quality = 75 if mode == "CMYK" else (85, 90, 75)[number % 3]  # Larger ones have more than MAX_BYTES.
            stream = io.BytesIO()
            image.save(stream, "JPEG", quality=quality, progressive=progressive, **options)
            kind = "progressive" if progressive else "baseline"
            yield f"{kind}, {mode}, quality {quality}, {stream.tell() / 1e6:.0f} MB", stream.getvalue()


def _photograph(number: int, side: int) -> object:
    """Return a square picture as a camera makes one: a photograph with the grain of a sensor."""
    from PIL import Image, ImageChops

    paths = sorted(PHOTOGRAPHS.glob("*.jpg"))
    if paths:
        with Image.open(paths[number % len(paths)]) as file:
            picture = file.convert("RGB")
    else:
        picture = Image.merge("RGB", [Image.radial_gradient("L").rotate(90 * turn) for turn in range(3)])
    whole = picture.resize((side, side), Image.Resampling.BICUBIC)
    grain = Image.effect_noise((side, side), 12).convert("RGB")
    return ImageChops.add(whole, grain, 1, -128)


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seconds", type=float, default=SECONDS, help="how long slow pictures are sent")


if __name__ == "__main__":
    experiment(run, _options)
