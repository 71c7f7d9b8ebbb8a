"""`manage.py mediasearch_prune`: delete what is over: generations long left, and old jobs that are done."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import router

from mediasearch import conf
from mediasearch.exceptions import MediaSearchError
from mediasearch.indexing import generations, pruning
from mediasearch.indexing.watching import Step
from mediasearch.management import blocks
from mediasearch.management.progress import Steps
from mediasearch.models import Generation

_KEEP, _KEEP_DAYS = 1, 7.0
_AT_ONCE = 5_000


class Command(BaseCommand):
    help = (
        "Delete retired generations that nobody will go back to, with their vectors and indexes, "
        "and jobs that were done long ago. Broken off, it goes on when run again."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--keep", type=int, default=_KEEP, metavar="N", help="keep the last N retired generations")
        parser.add_argument(
            "--keep-days", type=float, default=_KEEP_DAYS, metavar="D", help="keep those retired in the last D days"
        )
        parser.add_argument("--dry-run", action="store_true", help="say what would be deleted, and leave it")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["keep"] < 0 or options["keep_days"] < 0:
            raise CommandError("--keep and --keep-days must not be negative.")
        dry = options["dry_run"]
        steps = Steps(self.stdout, quiet=dry or options["verbosity"] < 1)  # type: ignore[arg-type]
        with blocks.told(self.stderr.write):
            for generation in pruning.outdated_generations(options["keep"], options["keep_days"]):
                self._delete(generation, steps, dry=dry)
            retired = Generation.objects.primary().filter(state=Generation.State.RETIRED)
            for generation in retired.filter(retired_at__isnull=False):
                if not dry:
                    self.stdout.write(f"Kept: generation {generation.pk}, retired {generation.retired_at:%Y-%m-%d}.")
            self._delete_jobs(steps, dry=dry)

    def _delete(self, generation: Generation, steps: Steps, *, dry: bool) -> None:
        vectors = generation.embeddings.using(router.db_for_write(Generation)).count()
        what = f"generation {generation.pk} ({generation.fingerprint}) with {vectors:,} vectors"
        if dry:
            self.stdout.write(f"Would be deleted: {what}.")
            return
        try:
            generations.forget(generation, steps.show)
        except MediaSearchError as error:
            raise CommandError(str(error)) from error
        finally:
            steps.end()
        self.stdout.write(self.style.SUCCESS(f"Deleted: {what}."))

    def _delete_jobs(self, steps: Steps, *, dry: bool) -> None:
        total, days = pruning.done_jobs().count(), conf.settings().keep_done_days
        if dry:
            self.stdout.write(f"Would be deleted: {total:,} jobs that were done more than {days} days ago.")
            return
        deleted = 0
        while some := pruning.prune_jobs(_AT_ONCE):
            deleted += some
            steps.show(Step("Deleting jobs", deleted, total))
        steps.end()
        self.stdout.write(self.style.SUCCESS(f"Deleted: {deleted:,} jobs that were done more than {days} days ago."))
