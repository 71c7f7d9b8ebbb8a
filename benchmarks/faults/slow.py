"""`python -m benchmarks.faults.slow [--seconds 60] [--short]`: look for the files that take longest to open.

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
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import psutil

from benchmarks.bars import Bars, Given, experiment
from benchmarks.faults import elaborate
from benchmarks.faults.elaborate import FORMATS, Format, Value

SECONDS, SHORT_SECONDS = 60.0, 1.0
LARGEST, LONGEST, SHORT_LONGEST = 1_000_000, 30.0, 2.0
REFUSED, UPLOAD, QUICK = 3.0, 21.0, 1.0
"""Seconds: of a question's picture, of an upload, and what no limit may refuse."""
_UNCOUNTED = """
from mediasearch.features import child, structure
structure.check = lambda *given: None
child.main()
"""
SLOWEST: dict[str, dict[str, Value]] = {
    "JPEG": {"side": 5_000, "amount": 0, "mode": "RGB", "subsampling": 0, "progressive": True, "scan": -1,
             "repeats": 10_000, "segments": 0, "segment": "COM"},
    "PNG": {"side": 7_071, "depth": 16, "colour": 6, "row_filter": 4, "interlaced": True, "chunks": 0, "kind": "tEXt",
            "piece": 65_536},
    "GIF": {"side": 7_071, "amount": 1, "blocks": 100_000, "block": "comment", "piece": 255, "frames": 1},
    "TIFF": {"side": 7_071, "amount": 16, "mode": "L", "compression": "jpeg", "rows": 1, "tiled": False,
             "entries": 1_000, "repeats": 85},
    "WebP": {"side": 5_000, "amount": 4, "mode": "RGBA", "lossless": True, "method": 4, "quality": 75, "frames": 10,
             "chunks": 0},
    "AVIF": {"tile": 512, "amount": 64, "quality": 100, "across": 16, "items": 0, "subsampling": "4:4:4"},
    "HEIC": {"tile": 256, "amount": 64, "quality": 100, "across": 110, "items": 0},
    "BMP": {"side": 7_071, "run": 255, "operation": "line4"},
}  # fmt: skip
"""For each format, what the slowest of the files that were found is made with."""


class Uncounted:
    """A child like the product's that opens files however many parts they have; started when first needed."""

    def __init__(self, longest: float) -> None:
        self._longest = longest
        self._process: subprocess.Popen[bytes] | None = None
        self._folder = ""

    def seconds(self, data: bytes) -> tuple[float, str]:
        """Return how much processor time opening a file takes, and what comes of it: it is killed after `longest`."""
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
        began, answer = _processor_time(process), None
        with suppress(BrokenPipeError):
            write_frame(process.stdin, {"operation": "pixels", "options": options}, data)
            answer = read_frame(process.stdout)
        alarm.cancel()
        if answer is None:
            self.close()
            return self._longest, "killed"
        return _processor_time(process) - began, answer[0].get("error", "opened")

    def _started(self, memory: int) -> subprocess.Popen[bytes]:
        self._folder = tempfile.mkdtemp(prefix="mediasearch-slow-")
        arguments = [str(memory), str(2 * self._longest), str(os.getpid()), self._folder]
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
            shutil.rmtree(self._folder, ignore_errors=True)
            self._process = None


def _processor_time(process: subprocess.Popen[bytes]) -> float:
    times = psutil.Process(process.pid).cpu_times()
    return float(times.user + times.system)


@dataclass(frozen=True, slots=True)
class Opening:
    """A file by what it is made with, and how it was opened without limits."""

    values: Mapping[str, Value]
    size: int = 0
    seconds: float = 0.0
    outcome: str = "not made"
    refusal: str = ""
    """What the product says of the number of its parts."""


def climb(
    form: Format, seconds: float, largest: int, chance: random.Random, open_file: Callable[[bytes], tuple[float, str]]
) -> Iterator[Opening]:
    """Yield openings of files for so long: a third of it of any, and then of files like the slowest so far.

    These differ from it in one parameter, or, when all such were tried, in two.
    """
    began, seen = time.monotonic(), [form.plainest()]
    best = _opening(form, form.plainest(), largest, open_file)
    steps: Iterator[dict[str, Value]] = iter(())
    yield best
    while (elapsed := time.monotonic() - began) < seconds:
        near = elapsed > seconds / 3 or None
        values = near and next((values for step in steps if (values := {**best.values, **step}) not in seen), None)
        if values is None:
            names = chance.sample([*form.values], 2 if near else len(form.values))
            values = best.values | {name: chance.choice(form.values[name]) for name in names}
        seen.append(values)
        opening = _opening(form, values, largest, open_file)
        yield opening
        if opening.seconds > best.seconds:
            best, steps = opening, _steps(form, chance)


def _steps(form: Format, chance: random.Random) -> Iterator[dict[str, Value]]:
    """Return each value of each parameter, in an order of chance."""
    steps = [{name: value} for name, values in form.values.items() for value in values]
    return iter(chance.sample(steps, len(steps)))


def _opening(
    form: Format, values: Mapping[str, Value], largest: int, open_file: Callable[[bytes], tuple[float, str]]
) -> Opening:
    from mediasearch.exceptions import ImageTooComplex
    from mediasearch.features import structure

    try:
        data = form.make(**values)
    except (ValueError, OSError, RuntimeError, MemoryError):  # There is no such picture.
        return Opening(values)
    if len(data) > largest:
        return Opening(values, len(data), 0.0, "too large")
    refusal = ""
    try:
        structure.check(data)
    except ImageTooComplex as error:
        refusal = str(error)
    return Opening(values, len(data), *open_file(data), refusal)


def many_scans() -> bytes:
    """Return a JPEG of 1,000 scans and 49 megapixels in 0.4 MB: of a picture of one colour, the last one repeated."""
    plain = elaborate.encoded("JPEG", 7_000, "RGB", 0, progressive=True)
    last = plain.rindex(b"\xff\xda")
    return plain[:-2] + plain[last:-2] * (1_000 - plain.count(b"\xff\xda")) + plain[-2:]


def file(name: str) -> bytes:
    """Return the slowest file of a format that was found."""
    return FORMATS[name].make(**SLOWEST[name])


def run(given: Given, bars: Bars) -> None:
    from django.conf import settings

    settings.configure(MEDIASEARCH={}, LOGGING_CONFIG=None)
    logging.disable()  # That a file killed a child is what this brings about.
    from mediasearch.features import opener

    seconds = SHORT_SECONDS if given.short else given.options.seconds
    uncounted = Uncounted(SHORT_LONGEST if given.short else LONGEST)
    try:
        for name in given.options.formats or FORMATS:
            chance = random.Random(f"{given.seed}/{name}")
            openings = list(climb(FORMATS[name], seconds, given.options.largest, chance, uncounted.seconds))
            _judge_quick(name, openings, bars)
            slowest = max(openings, key=lambda opening: opening.seconds)
            figure = f"{slowest.seconds:.2f} ({slowest.outcome}, {slowest.size:,} bytes)"
            bars.note(f"{name}, slowest without limits, s", figure)
            bars.note(f"{name}, made with", dict(slowest.values))
            _judge(name, FORMATS[name].make(**slowest.values), bars)
    finally:
        uncounted.close()
        opener.close()


def _judge_quick(name: str, openings: Sequence[Opening], bars: Bars) -> None:
    """Nothing that is opened within a second may be refused for its parts."""
    quick = [one for one in openings if one.outcome == "opened" and one.seconds <= QUICK]
    refused = [f"{dict(one.values)}: {one.refusal}" for one in quick if one.refusal]
    bars.note(f"{name}, files of which opening was tried", sum(one.seconds > 0 for one in openings))
    bars.equal(f"{name}, of {len(quick)} that open within {QUICK:g} s, refused", refused, [])


def _judge(name: str, data: bytes, bars: Bars) -> None:
    """Give a file to the product."""
    from mediasearch.features import opener

    ways: dict[str, Callable[[bytes], object]] = {
        "as a question": lambda data: opener.for_question(data, 224),
        "as an upload": opener.verify,
    }
    for way, ask in ways.items():
        seconds, refusal = answer(lambda ask=ask: ask(data))
        bars.note(f"{name}, {way}", refusal or "opened")
        bars.at_most(
            f"{name}, {way}: answered after", seconds, REFUSED if ask is ways["as a question"] else UPLOAD, " s"
        )


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
    parser.add_argument("--seconds", type=float, default=SECONDS, help="for each format")
    parser.add_argument("--largest", type=int, default=LARGEST, metavar="BYTES")


if __name__ == "__main__":
    experiment(run, _options)
