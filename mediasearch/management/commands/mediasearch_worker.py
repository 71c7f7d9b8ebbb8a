"""`manage.py mediasearch_worker`: index pictures without Celery."""

from __future__ import annotations

import os
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import InterfaceError, OperationalError

from mediasearch.indexing import doorbell, serving
from mediasearch.management.processes import Ending, keep, manage


class Command(BaseCommand):
    help = (
        "Index pictures without Celery: one process for each queue, started again when it ends. "
        "New work is heard of through PostgreSQL, or found by looking each second. "
        "Ctrl-C or SIGTERM ends it after the batch at hand."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--queue",
            action="append",
            dest="queues",
            choices=sorted(doorbell.QUEUES),
            help="serve this queue in this very process; may be given several times",
        )
        parser.add_argument("--until-done", action="store_true", help="leave when nothing is due, as cron wants it")
        parser.add_argument("--poll", type=float, default=serving.POLL, help="seconds between two looks for work")
        parser.add_argument("--parent", type=int, help="end when the process of this id, which started this one, ends")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["poll"] <= 0:
            raise CommandError("--poll must be above zero.")
        with Ending(options["parent"]) as ending:
            if options["queues"] or options["until_done"]:
                self._serve(options["queues"] or list(doorbell.QUEUES), ending, options)
            else:
                common = ("--poll", str(options["poll"]), "--parent", str(os.getpid()))
                keep(
                    [manage("mediasearch_worker", "--queue", queue, *common) for queue in sorted(doorbell.QUEUES)],
                    ending,
                )

    @staticmethod
    def _serve(queues: list[str], ending: Ending, options: dict[str, Any]) -> None:
        try:
            serving.serve(queues, ending, until_done=options["until_done"], poll=options["poll"])
        except (OperationalError, InterfaceError) as error:
            raise CommandError(f"The database can't be reached: {error}") from error
