"""`manage.py mediasearch_worker`: index pictures without Celery."""

from __future__ import annotations

import os
from argparse import ArgumentParser
from functools import partial
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import InterfaceError, OperationalError

from mediasearch.indexing import doorbell, serving, sessions
from mediasearch.management.processes import Ending, keep


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
            choices=sorted(doorbell.queues()),
            help="serve this queue in this very process; may be given several times",
        )
        parser.add_argument("--until-done", action="store_true", help="leave when nothing is due, as cron wants it")
        parser.add_argument("--poll", type=float, default=serving.POLL, help="seconds between two looks for work")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["poll"] <= 0:
            raise CommandError("--poll must be above zero.")
        if options["queues"] or options["until_done"]:
            try:
                self._serve(options["queues"] or list(doorbell.queues()), options)
            except (OperationalError, InterfaceError) as error:
                raise CommandError(f"The database can't be reached: {error}") from error
        else:
            sessions.close_pools()  # The processes are copies of this one.
            tasks = [partial(self._serve, [queue], options, os.getpid()) for queue in sorted(doorbell.queues())]
            with Ending() as ending:
                keep(tasks, ending)

    @staticmethod
    def _serve(queues: list[str], options: dict[str, Any], parent: int | None = None) -> None:
        with Ending(parent) as ending:
            serving.serve(queues, ending, until_done=options["until_done"], poll=options["poll"])
