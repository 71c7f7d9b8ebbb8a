"""`manage.py mediasearch_reindex`: change over to other encoders, and back."""

from __future__ import annotations

from argparse import ArgumentParser
from datetime import timedelta
from time import sleep as rest
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import InterfaceError, OperationalError, connections
from django.db.models import Q
from django.db.models.functions import Now

from mediasearch import conf
from mediasearch.conf import Spec
from mediasearch.exceptions import MediaSearchError, NotReady
from mediasearch.indexing import calibration, doorbell, generations, warming
from mediasearch.management.progress import Progress, Steps
from mediasearch.models import Generation, Job, Pause

_LOOK_EVERY = 1.0
_JUST_NOW = timedelta(seconds=5)
"""Uploads of the last moments are not waited for: where they keep coming, some are always on their way."""

_LEFT = Q(priority=Job.BACKFILL) | Q(created_at__lt=Now() - _JUST_NOW)


class Command(BaseCommand):
    help = (
        "Build a second generation of vectors with other encoders, while searches go on with the first, "
        "and change over when it is whole. Stopped half-way, it goes on where it was when run again."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        encoder = "open_clip's NAME:PRETRAINED, local-dir:/a/folder, a dotted path, or a JSON spec"
        parser.add_argument("--encoder", help=f"{encoder}; that of the settings if left out")
        parser.add_argument("--caption-encoder", help="for captions, where it is another one; written the same way")
        parser.add_argument("--no-wait", action="store_true", help="start it and leave; run again to change over")
        parser.add_argument("--cancel", action="store_true", help="give up what was begun, and delete its vectors")
        parser.add_argument("--activate", type=int, metavar="ID", help="change over, or back, to this generation")
        parser.add_argument("--now", action="store_true", help="with --activate: don't wait for what it lacks")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            if options["cancel"]:
                self._cancel()
                return
            generation = self._chosen(options)
            generations.owe_all(generation)
            doorbell.ring(doorbell.QUEUES)
            if options["no_wait"] and generation.jobs.unfinished().exists():
                self.stdout.write(f"Generation {generation.pk} is being built. Run this again to change over to it.")
                return
            self._change_over(generation, **options)
        except MediaSearchError as error:
            raise CommandError(str(error)) from error

    def _chosen(self, options: dict[str, Any]) -> Generation:
        """The generation to change over to: a known one, one that was begun, or a new one."""
        if options["activate"] is None:
            image, caption = self._specs(options)
            if generation := generations.building(image, caption):
                self.stdout.write(f"Going on with generation {generation.pk}.")
                return generation
            return generations.create(image, caption)
        generation = Generation.objects.filter(pk=options["activate"]).first()
        if generation is None:
            known = ", ".join(str(generation) for generation in Generation.objects.order_by("pk")) or "none"
            raise CommandError(f"There is no generation {options['activate']}. Known: {known}.")
        if generation.state == Generation.State.ACTIVE:
            raise CommandError(f"Generation {generation.pk} is the active one already.")
        return generations.reopen(generation) if generation.state == Generation.State.RETIRED else generation

    @staticmethod
    def _specs(options: dict[str, Any]) -> tuple[Spec | None, Spec | None]:
        settings = conf.settings()
        image = Spec.named(options["encoder"], settings.encoder) if options["encoder"] else None
        like = settings.caption_encoder or settings.encoder
        caption = Spec.named(options["caption_encoder"], like) if options["caption_encoder"] else None
        return (image or settings.encoder, caption) if caption else (image, None)

    def _cancel(self) -> None:
        begun = list(Generation.objects.filter(state=Generation.State.BUILDING))
        for generation in begun:
            said = f"Generation {generation.pk} was given up."
            generations.cancel(generation)
            self.stdout.write(self.style.SUCCESS(said))
        if not begun:
            self.stdout.write("No generation is being built.")

    def _change_over(self, generation: Generation, *, now: bool, verbosity: int, **_: Any) -> None:
        quiet = verbosity < 1
        if not now:
            self._wait(generation, quiet=quiet)
        if not quiet:
            self.stdout.write("Building its indexes.")
        steps = Steps(self.stdout, quiet=quiet)  # type: ignore[arg-type]
        generations.build_indexes(generation, steps.show)
        steps.end()
        if found := calibration.calibrate(generation):
            self.stdout.write(
                f"Its index finds {found.recall:.1%} of the {calibration.AT} nearest, with ef_search {found.ef_search}."
            )
        if not warming.warm_queries(generation):
            self.stderr.write("No query worker answered; until one does, searches go by text alone.")
        while True:
            try:
                generations.activate(generation, unfinished=now)
                break
            except NotReady:  # Uploads came in while its indexes were built.
                self._wait(generation, quiet=True)
                rest(_LOOK_EVERY)
        self.stdout.write(self.style.SUCCESS(f"Searches now use generation {generation.pk}."))
        if generation.encoder != conf.settings().encoder.as_dict():
            self.stdout.write(f'Set MEDIASEARCH["ENCODER"] to {generation.encoder}, so that the settings agree.')

    def _wait(self, generation: Generation, *, quiet: bool) -> None:
        total = generation.jobs.count()
        progress = Progress(self.stdout, "Embedding", total, quiet=quiet)  # type: ignore[arg-type]
        left, said = total, ""
        while left:
            try:
                left = generation.jobs.unfinished().filter(_LEFT).count()
                total = max(total, generation.jobs.count())
                paused = Pause.objects.current().filter(stage__startswith="embed").first()
            except (OperationalError, InterfaceError) as error:
                paused = None
                self.stderr.write(f"Waiting for the database: {error}")
                connections.close_all()
            if not Generation.objects.filter(pk=generation.pk, state=Generation.State.BUILDING).exists():
                raise CommandError(f"Generation {generation.pk} was cancelled.")
            progress.show(total - left, total)
            if paused and paused.reason != said:
                said = paused.reason
                self.stderr.write(f"Waiting: {said}")
            if left:
                rest(_LOOK_EVERY)
        progress.end()
        if failed := generation.jobs.filter(state=Job.State.FAILED).count():
            self.stderr.write(f"{failed} images could not be embedded; the admin's list of failed jobs says why.")
