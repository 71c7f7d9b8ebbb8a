"""`python -m benchmarks.faults.slow [--tries 150] [--short]`: look for the files that take longest to open.

For each format a climb over the parameters of `elaborate`, within a size in bytes and MAX_PIXELS: a step is kept where
opening takes longer than before. What opening takes is measured in a child like the product's that counts no parts, so
that it is seen what there would be without limits; then the slowest is given to the product as a question's picture
and as an upload. SLOWEST holds what was found; `visitors` asks a site with these.
"""

from __future__ import annotations

import argparse
import logging
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from benchmarks.bars import Bars, Given, experiment
from benchmarks.faults.elaborate import FORMATS, Format, Value

TRIES, SHORT_TRIES = 150, 3
LARGEST, LONGEST, SHORT_LONGEST = 1_000_000, 60.0, 2.0
REFUSED = 3.0
_UNCOUNTED = """
from mediasearch.features import child, structure
structure.check = lambda *given: None
child.main()
"""
SLOWEST: dict[str, dict[str, Value]] = {}
"""For each format, what the slowest file found in 1 MB was made with."""
SLOWER: dict[str, dict[str, Value]] = {}


class Uncounted:
    """A child like the product's that opens files however many parts they have; started when first needed."""

    def __init__(self, longest: float) -> None:
        self._longest = longest
        self._process: subprocess.Popen[bytes] | None = None

    def seconds(self, data: bytes) -> tuple[float, str]:
        """Return how long opening a file takes, at most `longest`, and what comes of it."""
        from mediasearch.features.child import read_frame, write_frame
        from mediasearch.features.images import FORMATS as NAMES
        from mediasearch.features.sandbox import Budget

        if self._process is None or self._process.poll() is not None:
            self._process = self._started(Budget().memory)
        process = self._process
        assert process.stdin
        assert process.stdout
        options = {"max_bytes": 50_000_000, "max_pixels": 50_000_000, "formats": NAMES, "shortest_side": 672}
        alarm = threading.Timer(self._longest, process.kill)
        alarm.start()
        began = time.monotonic()
        answer = None
        with suppress(BrokenPipeError):
            write_frame(process.stdin, {"operation": "pixels", "options": options}, data)
            answer = read_frame(process.stdout)
        seconds = time.monotonic() - began
        alarm.cancel()
        if answer is None:
            self.close()
            return seconds, "killed"
        return seconds, answer[0].get("error", "opened")

    def _started(self, memory: int) -> subprocess.Popen[bytes]:
        folder = tempfile.mkdtemp(prefix="mediasearch-slow-")
        arguments = [str(memory), str(2 * self._longest), str(os.getpid()), folder]
        command = [sys.executable, "-c", _UNCOUNTED, *arguments]
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
        )
        self._process = process
        self.seconds(FORMATS["PNG"].make(**FORMATS["PNG"].plainest()))  # So that starting is in nobody's time.
        return process

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@dataclass(frozen=True, slots=True)
class Slow:
    """A file, and how long it takes to open."""

    values: Mapping[str, Value]
    size: int
    seconds: float
    outcome: str


def climb(form: Format, tries: int, largest: int, chance: random.Random, uncounted: Uncounted) -> Slow:
    """Return the slowest file of so many: each is the slowest so far with one parameter changed, or two, or three."""
    best = _measured(form, form.plainest(), largest, uncounted)
    seen = {tuple(best.values.items())}
    for _ in range(tries):
        values = dict(best.values)
        for name in chance.sample(list(form.values), chance.choice((1, 1, 2, 3))):
            values[name] = chance.choice(form.values[name])
        if tuple(values.items()) in seen:
            continue
        seen.add(tuple(values.items()))
        one = _measured(form, values, largest, uncounted)
        if one.seconds > best.seconds:
            best = one
    return best


def _measured(form: Format, values: Mapping[str, Value], largest: int, uncounted: Uncounted) -> Slow:
    try:
        data = form.make(**values)
    except (ValueError, OSError, RuntimeError, MemoryError):  # No such picture: an encoder refuses it.
        return Slow(values, 0, 0.0, "not made")
    if len(data) > largest:
        return Slow(values, len(data), 0.0, "too large")
    seconds, outcome = uncounted.seconds(data)
    return Slow(values, len(data), seconds, outcome)


def file(name: str) -> bytes:
    """Return the slowest file of a format that was found."""
    return FORMATS[name].make(**SLOWEST[name])


def run(given: Given, bars: Bars) -> None:
    from django.conf import settings

    settings.configure(MEDIASEARCH={}, LOGGING_CONFIG=None)
    logging.disable()  # That a file killed a child is what this brings about.
    from mediasearch.features import opener

    tries = SHORT_TRIES if given.short else given.options.tries
    uncounted = Uncounted(SHORT_LONGEST if given.short else LONGEST)
    try:
        for name in given.options.formats or FORMATS:
            chance = random.Random(f"{given.seed}/{name}")
            slowest = climb(FORMATS[name], tries, given.options.largest, chance, uncounted)
            bars.note(f"{name}, slowest without limits, s", f"{slowest.seconds:.2f} ({slowest.outcome}, {slowest.size:,} bytes)")
            bars.note(f"{name}, made with", dict(slowest.values))
            _judge(name, FORMATS[name].make(**slowest.values), bars)
    finally:
        uncounted.close()
        opener.close()


def _judge(name: str, data: bytes, bars: Bars) -> None:
    """Give a file to the product."""
    from mediasearch.features import opener

    ways: dict[str, Callable[[bytes], object]] = {
        "as a question": lambda data: opener.for_question(data, 224),
        "as an upload": opener.verify,
    }
    for way, ask in ways.items():
        seconds, said = answer(lambda ask=ask: ask(data))
        figure = f"{seconds:.2f} s: {said or 'opened'}"
        if way == "as a question":
            bars.hold(f"{name}, {way}", figure, f"<= {REFUSED:g} s", seconds <= REFUSED)
        else:
            bars.note(f"{name}, {way}", figure)


def answer(ask: Callable[[], object]) -> tuple[float, str]:
    """Return how long a file takes, and the sentence with which it is refused."""
    from mediasearch.exceptions import MediaSearchError

    began, said = time.monotonic(), ""
    try:
        ask()
    except MediaSearchError as refusal:
        said = str(refusal)
    return time.monotonic() - began, said


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("formats", nargs="*", metavar="FORMAT", help=f"of {', '.join(FORMATS)}; all by default")
    parser.add_argument("--tries", type=int, default=TRIES)
    parser.add_argument("--largest", type=int, default=LARGEST, metavar="BYTES")


if __name__ == "__main__":
    experiment(run, _options)
