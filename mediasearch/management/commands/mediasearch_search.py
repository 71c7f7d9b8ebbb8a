"""`manage.py mediasearch_search WORDS`: ranked hits in a terminal, with what speaks for each."""

from __future__ import annotations

import json
from argparse import ArgumentParser, ArgumentTypeError
from datetime import date
from pathlib import Path
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError

from mediasearch import conf
from mediasearch.exceptions import MediaSearchError
from mediasearch.models import Asset
from mediasearch.search import engine, fusion
from mediasearch.search.query import SORTS, Part
from mediasearch.search.results import Evidence, Hit, Results

_TITLE = 60


class Command(BaseCommand):
    help = "Search, and print the hits with what speaks for each: score, rank and share of every signal."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("words", nargs="*", help="what the pictures show, or what is written in them")
        parser.add_argument("--without", action="append", default=[], metavar="WORDS", help="words to subtract")
        parser.add_argument("--image", action="append", default=[], type=Path, metavar="FILE", help="a picture to add")
        parser.add_argument("--like", action="append", default=[], type=int, metavar="ID", help="an asset to add")
        parser.add_argument("--user", help="search as this user; without, through everything")
        parser.add_argument("--category", default="")
        parser.add_argument("--tag", action="append", default=[], help="a tag that must be there")
        parser.add_argument("--after", type=_day, metavar="YYYY-MM-DD", help="the first day")
        parser.add_argument("--before", type=_day, metavar="YYYY-MM-DD", help="the last day")
        parser.add_argument("--language", default="", help="of the question: an ISO 639-1 code")
        parser.add_argument("--weight", action="append", default=[], type=_weight, metavar="SIGNAL=WEIGHT")
        parser.add_argument("--fusion", choices=fusion.NAMES)
        parser.add_argument("--sort", choices=[*SORTS], default="relevance")
        parser.add_argument("--limit", type=int, default=10)
        parser.add_argument("--offset", type=int, default=0)
        parser.add_argument("--facets", action="store_true", help="count what there is among the matches")
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            results = self._search(options)
            said = _as_dict(results, with_facets=options["facets"])
        except MediaSearchError as error:
            raise CommandError(str(error)) from error
        if options["json"]:
            self.stdout.write(json.dumps(said, ensure_ascii=False))
            return
        self._print(results, options["offset"])
        for name, counts in said.get("facets", {}).items():
            shown = ", ".join(f"{one['value']} {one['number']}" for one in counts) or "-"
            self.stdout.write(f"{name}: {shown}")

    def _search(self, options: dict[str, Any]) -> Results:
        parts: list[str | Part] = [" ".join(options["words"])]
        parts += [Part(words, weight=-1.0) for words in options["without"]]
        parts += [Part(image=_read(path)) for path in options["image"]]
        parts += [Part(image=_asset(pk)) for pk in options["like"]]
        who: dict[str, Any] = {"scope": Asset.objects.all()}
        if options["user"] is not None:
            who = {"user": _user(options["user"])}
        return engine.search(
            parts,
            **who,
            category=options["category"],
            tags=options["tag"],
            after=options["after"],
            before=options["before"],
            language=options["language"],
            weights={**conf.settings().weights, **dict(options["weight"])} if options["weight"] else None,
            fusion=options["fusion"],
            sort=options["sort"],
            limit=options["limit"],
            offset=options["offset"],
        )

    def _print(self, results: Results, offset: int) -> None:
        for notice in results.degraded:
            self.stderr.write(self.style.WARNING(f"{notice.signal}: {notice.reason}"))
        for number, hit in enumerate(results, start=offset + 1):
            title = " ".join(str(hit.asset).split())[:_TITLE]
            self.stdout.write(f"{number:>4}. {hit.score:.3f}  {title}  " + self.style.HTTP_INFO(f"#{hit.asset.pk}"))
            for line in _reasons(hit):
                self.stdout.write(f"        {line}")
        if not len(results):
            self.stdout.write("Nothing was found.")
        total = f"{results.total:,}" if results.total_is_exact else f"at least {results.total:,}"
        times = ", ".join(f"{step} {milliseconds:.1f} ms" for step, milliseconds in results.timings.items())
        self.stdout.write(f"{len(results)} of {total} by {results.plan} ({times})")


def _reasons(hit: Hit) -> list[str]:
    lines = [f"{name:<10} {_evidence(said)}" for name, said in hit.signals.items()]
    if hit.words:
        lines.append("words      " + ", ".join(f"{word} ({how})" for word, how in hit.words.items()))
    return lines


def _evidence(said: Evidence) -> str:
    rank = f"rank {said.rank}" if said.rank else "no rank"
    return f"{said.score:.3f}  0-1 {said.normalized:.2f}  {rank:<8} {said.share:>4.0%}"


def _as_dict(results: Results, *, with_facets: bool) -> dict[str, Any]:
    hits = [
        {
            "id": hit.asset.pk,
            "title": str(hit.asset),
            "score": hit.score,
            "signals": {
                name: {"score": said.score, "normalized": said.normalized, "rank": said.rank, "share": said.share}
                for name, said in hit.signals.items()
            },
            "words": dict(hit.words),
            "boxes": [list(box) for box in hit.boxes],
        }
        for hit in results
    ]
    said: dict[str, Any] = {
        "hits": hits,
        "total": results.total,
        "total_is_exact": results.total_is_exact,
        "plan": results.plan,
        "degraded": [{"signal": notice.signal, "reason": notice.reason} for notice in results.degraded],
        "milliseconds": dict(results.timings),
    }
    if with_facets:
        said["facets"] = {
            name: [{"value": one.value, "number": one.number, "error": one.error} for one in counts]
            for name, counts in results.facets.counts.items()
        }
    return said


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CommandError(f"{path} can't be read: {error.strerror}.") from error


def _asset(pk: int) -> Asset:
    found = Asset.objects.filter(pk=pk).first()
    if found is None:
        raise CommandError(f"There is no asset {pk}.")
    return found


def _user(name: str) -> Any:
    model = get_user_model()
    found = model._default_manager.filter(**{model.USERNAME_FIELD: name}).first()
    if found is None:
        raise CommandError(f"There is no user {name}.")
    return found


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ArgumentTypeError(f"{text} is not a day. Write it like 2026-01-31.") from None


def _weight(text: str) -> tuple[str, float]:
    name, _, number = text.partition("=")
    try:
        return name, float(number)
    except ValueError:
        raise ArgumentTypeError(f"{text} is no weight. Write it like text=0.5.") from None
