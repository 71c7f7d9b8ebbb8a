"""`manage.py mediasearch_retry`: try failed jobs again."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from mediasearch.indexing import ledger
from mediasearch.models import Job, Stage


class Command(BaseCommand):
    help = "Make failed jobs due again, once what made them fail is mended."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--stage", choices=Stage.values, help="only this stage")
        parser.add_argument("--error", default="", help="only those whose error contains this text")
        parser.add_argument("--dry-run", action="store_true", help="say how many they are, and leave them")

    def handle(self, *args: Any, **options: Any) -> None:
        jobs = Job.objects.filter(state=Job.State.FAILED, error__icontains=options["error"])
        if options["stage"]:
            jobs = jobs.filter(stage=options["stage"])
        if options["dry_run"]:
            self.stdout.write(f"{jobs.count()} failed jobs would be tried again.")
            return
        self.stdout.write(self.style.SUCCESS(f"{ledger.retry(jobs)} failed jobs will be tried again."))
