"""`manage.py mediasearch_reindex`: change over to the encoders that the settings name."""

from __future__ import annotations

import time
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from mediasearch import conf
from mediasearch.exceptions import MediaSearchError
from mediasearch.indexing import doorbell, generations
from mediasearch.management.progress import Progress
from mediasearch.models import Generation, Job, Pause

_LOOK_EVERY = 1.0


class Command(BaseCommand):
    help = (
        "Build a second generation of vectors with the encoders of the settings, while searches go on with the first, "
        "and change over when it is whole. Stopped half-way, it goes on where it was when run again."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--no-wait", action="store_true", help="start it and leave; run again to change over")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            generation = self._building() or generations.create()
            doorbell.ring(doorbell.QUEUES)
            if options["no_wait"] and generation.jobs.unfinished().exists():
                self.stdout.write(f"Generation {generation.pk} is being built. Run this again to change over to it.")
                return
            self._wait(generation, quiet=options["verbosity"] < 1)
            generations.activate(generation)
        except MediaSearchError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(self.style.SUCCESS(f"Searches now use generation {generation.pk}."))

    @staticmethod
    def _building() -> Generation | None:
        """The generation that an earlier run began with these same settings."""
        settings = conf.settings()
        caption = settings.caption_encoder.as_dict() if settings.caption_encoder else None
        begun = Generation.objects.filter(state=Generation.State.BUILDING, encoder=settings.encoder.as_dict())
        return next((g for g in begun if g.caption_encoder == caption), None)

    def _wait(self, generation: Generation, *, quiet: bool) -> None:
        total = generation.jobs.count()
        progress = Progress(self.stdout, "Embedding", total, quiet=quiet)  # type: ignore[arg-type]
        said = ""
        while left := generation.jobs.unfinished().count():
            progress.show(total - left)
            paused = Pause.objects.current().filter(stage__startswith="embed").first()
            if paused and paused.reason != said:
                said = paused.reason
                self.stderr.write(f"Waiting: {said}")
            time.sleep(_LOOK_EVERY)
        progress.show(total)
        progress.end()
        if failed := generation.jobs.filter(state=Job.State.FAILED).count():
            self.stderr.write(f"{failed} images could not be embedded; the admin's list of failed jobs says why.")
