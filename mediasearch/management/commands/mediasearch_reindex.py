"""`manage.py mediasearch_reindex`: change over to other encoders, and back."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Sequence
from datetime import timedelta
from time import monotonic
from time import sleep as rest
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import InterfaceError, OperationalError, connections
from django.db.models import Q, QuerySet
from django.db.models.functions import Now

from mediasearch import conf
from mediasearch.conf import Spec
from mediasearch.exceptions import CalibrationLost, CalibrationTaken, MediaSearchError, NotReady
from mediasearch.indexing import calibration, doorbell, generations, lacking, warming
from mediasearch.indexing.calibration import Calibration
from mediasearch.management import blocks
from mediasearch.management.progress import Progress, Steps
from mediasearch.management.waiting import Reasons
from mediasearch.models import EMBEDS, Embedding, Generation, Job, Pause
from mediasearch.querysets import GenerationQuerySet, JobQuerySet

_LOOK_EVERY = 1.0
_LONG = 60.0
"""Seconds after which it is said that edits which keep coming put off the change."""
_TRIES, _SHOWN = 3, 5
"""How often vectors that are gone are made again, and how many images an error names."""
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
            with blocks.told(self.stderr.write):
                self._handle(options)
        except MediaSearchError as error:
            raise CommandError(str(error)) from error

    def _handle(self, options: dict[str, Any]) -> None:
        if options["cancel"]:
            self._cancel()
            return
        generation = self._chosen(options)
        generations.owe_all(generation)
        lacking.owe(generation)
        doorbell.ring(doorbell.queues())
        if options["no_wait"] and _jobs(generation).unfinished().exists():
            self.stdout.write(f"Generation {generation.pk} is being built. Run this again to change over to it.")
            return
        self._change_over(generation, **options)

    def _chosen(self, options: dict[str, Any]) -> Generation:
        """The generation to change over to: a known one, one that was begun, or a new one."""
        if options["activate"] is None:
            image, caption = self._specs(options)
            if generation := generations.building(image, caption):
                self.stdout.write(f"Going on with generation {generation.pk}.")
                return generation
            return generations.create(image, caption)
        generation = _generations().filter(pk=options["activate"]).first()
        if generation is None:
            known = ", ".join(str(generation) for generation in _generations().order_by("pk")) or "none"
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
        begun = list(_generations().filter(state=Generation.State.BUILDING))
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
        if found := self._calibrate(generation, steps):
            self.stdout.write(
                f"Its index finds {found.recall:.1%} of the {calibration.AT} nearest, with ef_search {found.ef_search}."
            )
        if not quiet:
            self.stdout.write("Having the query worker load its model.")
        if not warming.warm_queries(generation):
            self.stderr.write("No query worker answered; until one does, searches go by text alone.")
        self._activate(generation, now=now)
        self.stdout.write(self.style.SUCCESS(f"Searches now use generation {generation.pk}."))
        if generation.encoder != conf.settings().encoder.as_dict():
            self.stdout.write(f'Set MEDIASEARCH["ENCODER"] to {generation.encoder}, so that the settings agree.')

    def _calibrate(self, generation: Generation, steps: Steps) -> Calibration | None:
        """Measure it, as soon as no other process does so."""
        told = False
        while True:
            try:
                return calibration.calibrate(generation, steps.show)
            except (CalibrationTaken, CalibrationLost):
                if not told:
                    self.stderr.write(
                        f"Waiting: another process is calibrating generation {generation.pk}. This goes on when that"
                        " is through, or within a minute where it was killed."
                    )
                told = True
                rest(_LOOK_EVERY)
            finally:
                steps.end()

    def _activate(self, generation: Generation, *, now: bool) -> None:
        """Change over; what was added, changed or lost while the indexes were built is embedded first."""
        reasons, tries, began = Reasons(generation, self.stderr.write), 0, monotonic()
        while True:
            try:
                generations.activate(generation, unfinished=now)
                return
            except NotReady as error:
                lost = list(generations.lost(generation).order_by("asset").values_list("asset", flat=True))
                if monotonic() - began > _LONG:
                    reasons.say("late", f"{error} `--activate {generation.pk} --now` changes over without them.")
            if lost:
                if tries == _TRIES:
                    raise CommandError(_without_vectors(generation, lost))
                tries += 1
                if not lacking.owe(generation):
                    generations.owe_all(generation)
            self._wait(generation, quiet=True)
            rest(_LOOK_EVERY)

    def _wait(self, generation: Generation, *, quiet: bool) -> None:
        """Wait until all is embedded, but for the uploads of the last moments, and say what stands in the way."""
        jobs = _jobs(generation)
        left = total = jobs.count()
        progress = Progress(self.stdout, "Embedding", total, quiet=quiet)  # type: ignore[arg-type]
        reasons = Reasons(generation, self.stderr.write)
        while left:
            try:
                left = jobs.unfinished().filter(_LEFT).count()
                total = max(total, jobs.count())
                if not _generations().filter(pk=generation.pk, state=Generation.State.BUILDING).exists():
                    raise CommandError(f"Generation {generation.pk} was cancelled.")
                progress.show(total - left, total)
                for pause in _pauses():
                    reasons.say(pause.reason, pause.reason)
                reasons.look(left)
            except (OperationalError, InterfaceError) as error:
                reasons.say("database", f"the database can't be asked. {str(error).strip()}")
                connections.close_all()
            if left:
                rest(_LOOK_EVERY)
        progress.end()
        if failed := jobs.filter(state=Job.State.FAILED).count():
            self.stderr.write(f"{failed} images could not be embedded; the admin's list of failed jobs says why.")


def _without_vectors(generation: Generation, lost: Sequence[int]) -> str:
    some = ", ".join(map(str, lost[:_SHOWN])) + (", ..." if len(lost) > _SHOWN else "")
    return (
        f"Generation {generation.pk} still lacks the vectors of {len(lost):,} images, though nothing is left to do for"
        f" them: {some}. They were owed {_TRIES} times in vain: see whether these images still have files, and what"
        f" deletes rows of {Embedding._meta.db_table}; then run this again. To change over without them: `manage.py"
        f" mediasearch_reindex --activate {generation.pk} --now`."
    )


def _generations() -> GenerationQuerySet:
    return Generation.objects.primary()


def _jobs(generation: Generation) -> JobQuerySet:
    return Job.objects.primary().filter(generation=generation)


def _pauses() -> QuerySet[Pause]:
    return Pause.objects.primary().current().filter(stage__in=EMBEDS)
