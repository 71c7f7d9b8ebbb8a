"""`manage.py mediasearch_status`: how far indexing is, for people and for programs."""

from __future__ import annotations

import json
import sys
import textwrap
import time
from argparse import ArgumentParser
from collections.abc import Iterator
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.core.serializers.json import DjangoJSONEncoder
from django.db import DatabaseError

from mediasearch.indexing.figures import ALARMS, Alarm, GenerationStatus, StageStatus, Status
from mediasearch.indexing.status import status
from mediasearch.templatetags.mediasearch import duration

_EVERY, _WIDTH = 2.0, 80
_HOME, _CLEAR = "\033[H", "\033[J"
_COLUMNS = (13, 10, 9, 8, 8, 11, 6, 7, 8)


class Command(BaseCommand):
    help = "Say how far indexing is: what waits, how fast it goes, what failed, and whether anybody must see to it."
    requires_system_checks: list[str] = []  # It also tells of a site with something wrong, and quickly.

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--watch", nargs="?", type=float, const=_EVERY, metavar="SECONDS", help="say it again and again"
        )
        parser.add_argument("--json", action="store_true", help="one JSON object; with --watch, one on each line")
        parser.add_argument(
            "--fail-on-alarm", nargs="*", choices=sorted(ALARMS), metavar="KIND",
            help=f"exit with 1 where there is an alarm, or one of these kinds: {', '.join(sorted(ALARMS))}",
        )  # fmt: skip

    def handle(self, *args: Any, **options: Any) -> None:
        watch, kinds = options["watch"], options["fail_on_alarm"]
        if watch is not None and watch <= 0:
            raise CommandError("--watch needs a number of seconds above zero.")
        try:
            while True:
                told = status()
                self._show(told, as_json=options["json"], again=watch is not None)
                if kinds is not None and any(not kinds or alarm.kind in kinds for alarm in told.alarms):
                    sys.exit(1)
                if watch is None:
                    return
                time.sleep(watch)
        except DatabaseError as error:
            raise CommandError(f"The database could not be asked: {str(error).strip()}") from error
        except KeyboardInterrupt:
            if self.stdout.isatty():
                self.stdout.write("")

    def _show(self, told: Status, *, as_json: bool, again: bool) -> None:
        if as_json:
            self.stdout.write(json.dumps(told.as_dict(), cls=DjangoJSONEncoder))
        else:
            page = "\n".join(_page(told))
            self.stdout.write(f"{_HOME}{_CLEAR}{page}" if again and self.stdout.isatty() else page)
        self.stdout.flush()


def _page(told: Status) -> Iterator[str]:
    """The lines for people, none of them wider than a terminal of 80 columns."""
    at = f"{told.at:%Y-%m-%d %H:%M:%S} UTC"
    yield f"{told.assets:,} images".ljust(_WIDTH - len(at)) + at
    yield ""
    yield _line("stage", "waiting", "due", "running", "failed", "done", "per s", "left", "oldest")
    for stage in told.stages:
        yield _stage(stage)
    yield ""
    if told.outdated:
        yield f"{told.outdated:,} images are yet to be brought up to date."
    for generation in told.generations:
        yield from _wrapped(_generation(generation))
    for failure in told.failures:
        some = ", ".join(map(str, failure.assets))
        yield from _wrapped(f"{failure.count:,} failed ({', '.join(failure.stages)}; image {some}): {failure.error}")
    for alarm in told.alarms:
        yield from _wrapped(_alarm(alarm))
    if not told.alarms:
        yield "No alarm."


def _stage(s: StageStatus) -> str:
    left = "never" if s.eta is None else duration(s.eta) if s.eta else "-"
    oldest = "-" if s.oldest_wait is None else duration(s.oldest_wait)
    numbers = (f"{number:,}" for number in (s.pending, s.due, s.running, s.failed, s.done))
    rate = f"{s.rate:.2f}" if s.rate < 10 else f"{s.rate:.0f}"
    return _line(s.stage, *numbers, rate, "paused" if s.paused else left, oldest)


def _line(first: str, *others: str) -> str:
    cells = (text.rjust(width) for text, width in zip(others, _COLUMNS[1:], strict=True))
    return first.ljust(_COLUMNS[0]) + "".join(cells)


def _generation(g: GenerationStatus) -> str:
    coverage = (
        "no images yet" if g.coverage is None else f"{g.images:,} image vectors, {_percent(g.coverage)} of images"
    )
    failed = f", {g.failed:,} failed" if g.failed else ""
    among = f"@{g.recall_at}" if g.recall_at else ""
    recall = "not measured" if g.recall is None else f"{g.recall:.4g}{among}, measured {g.measured_at or 'once'}"
    return f"Generation {g.id} ({g.state}) {g.encoder}: {coverage}{failed}; recall {recall}."


def _percent(share: float) -> str:
    """All is only all when nothing is missing."""
    return f"{100.0 if share >= 1 else min(share * 100, 99.9):.1f} %"


def _alarm(alarm: Alarm) -> str:
    return f"ALARM ({alarm.kind}): {alarm.sentence} {alarm.detail}".strip()


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, subsequent_indent="  ", break_long_words=True)
