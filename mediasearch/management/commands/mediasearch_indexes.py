"""`manage.py mediasearch_indexes`: look after the indexes that searches use."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Iterable
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError
from django.template.defaultfilters import filesizeformat

from mediasearch.exceptions import MediaSearchError
from mediasearch.indexing import construction, indexes
from mediasearch.indexing.indexes import Index
from mediasearch.management import blocks
from mediasearch.management.progress import Steps
from mediasearch.models import Generation
from mediasearch.querysets import GenerationQuerySet

_LINE = "{:<34}{:>12}{:>12}{:>8}  {}"


class Command(BaseCommand):
    help = (
        "Say how the indexes are: their size, that of fresh ones, and what is wrong. "
        "Repairs and rebuilds them while searches and uploads go on."
    )
    requires_system_checks: list[str] = []  # It mends what they complain of.

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--repair", action="store_true", help="build what is missing, invalid or of another make")
        parser.add_argument(
            "--rebuild", nargs="*", metavar="NAME", help="build these anew, or all of them, with REINDEX CONCURRENTLY"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        steps = Steps(self.stdout, quiet=options["verbosity"] < 1)  # type: ignore[arg-type]
        wanted = [index for generation in _living() for index in _expected(generation)]
        rebuilt = options["rebuild"]
        try:
            with blocks.told(self.stderr.write):
                if options["repair"] or rebuilt is not None:
                    self._repair(wanted, steps)
                if rebuilt is not None:
                    self._rebuild(_chosen(rebuilt, wanted), steps)
        except MediaSearchError as error:
            raise CommandError(str(error)) from error
        except DatabaseError as error:
            raise CommandError(f"The database did not do it: {str(error).strip()} Run this again.") from error
        self._list(wanted)

    @staticmethod
    def _repair(wanted: Iterable[Index], steps: Steps) -> None:
        for index in wanted:
            construction.build(index, steps.show)
        construction.drop(flaw.name for flaw in indexes.flaws([], indexes.found()))
        steps.end()

    @staticmethod
    def _rebuild(chosen: Iterable[Index | str], steps: Steps) -> None:
        for index in chosen:
            construction.rebuild(index, steps.show)
        steps.end()

    def _list(self, wanted: Iterable[Index]) -> None:
        there = indexes.found()
        wrong = {flaw.name: flaw.sentence for flaw in indexes.flaws(_living(), there)}
        expected = {index.name: index for index in wanted}
        self.stdout.write(_LINE.format("index", "size", "fresh", "share", "").rstrip())
        for name in sorted({*there, *expected}):
            size = there[name].size if name in there else 0
            fresh = expected[name].size(construction.vectors(expected[name])) if name in expected else 0
            cells = (_bytes(size), _bytes(fresh), f"{size / fresh:.1f}" if size and fresh else "-")
            said = "is being built" if name in there and there[name].in_progress else wrong.get(name, "")
            self.stdout.write(_LINE.format(name, *cells, said).rstrip())


def _living() -> GenerationQuerySet:
    return Generation.objects.primary().living()


def _expected(generation: Generation) -> Iterable[Index]:
    """The indexes of a living generation; a building one gets them when its vectors are there."""
    there = indexes.found()
    active = generation.state == Generation.State.ACTIVE
    return [index for index in indexes.wanted(generation) if active or index.name in there]


def _chosen(names: list[str], wanted: Iterable[Index]) -> list[Index | str]:
    known: dict[str, Index | str] = {index.name: index for index in wanted}
    known.update((name, name) for name in indexes.text_indexes())
    if unknown := set(names) - set(known):
        raise CommandError(f"There is no index {', '.join(sorted(unknown))}. Known: {', '.join(known)}.")
    return [known[name] for name in names or known]


def _bytes(number: int) -> str:
    return filesizeformat(number).replace("\xa0", " ") if number else "-"
