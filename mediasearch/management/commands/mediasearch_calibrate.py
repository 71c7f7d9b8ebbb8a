"""`manage.py mediasearch_calibrate`: how widely the indexes must search, and what unrelated pictures score."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from mediasearch import conf
from mediasearch.exceptions import CalibrationTaken, MediaSearchError
from mediasearch.indexing import calibration
from mediasearch.management import blocks
from mediasearch.management.progress import Steps
from mediasearch.models import Generation


class Command(BaseCommand):
    help = (
        "Measure the active generation against exact searches: the ef_search that reaches RECALL_TARGET, and what"
        " unrelated pictures score. Workers do so by themselves when the library has grown or changed."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--generation", type=int, help="another one than the active, by its number")
        parser.add_argument("--if-due", action="store_true", help="only where the library has changed much since")

    def handle(self, *args: Any, generation: int | None, if_due: bool, **options: Any) -> None:
        generations = Generation.objects.primary()
        living = generations.living()
        chosen = generations.active() if generation is None else living.filter(pk=generation).first()
        if chosen is None:
            known = ", ".join(str(one) for one in living) or "none yet: an embed worker makes the first"
            raise CommandError(f"There is no such generation. Generations: {known}.")
        if if_due and not calibration.due(chosen):
            self.stdout.write("It has changed little since it was calibrated.")
            return
        steps = Steps(self.stdout, quiet=options["verbosity"] < 1)  # type: ignore[arg-type]
        try:
            with blocks.told(self.stderr.write):
                found = calibration.calibrate(chosen, steps.show)
        except CalibrationTaken as error:
            if not if_due:
                raise CommandError(str(error)) from error
            self.stdout.write(str(error))
            return
        except MediaSearchError as error:
            raise CommandError(str(error)) from error
        finally:
            steps.end()
        if found is None:
            self.stdout.write("There are no vectors yet to calibrate with.")
            return
        at = f"recall@{calibration.AT} {found.recall:.1%} at ef_search {found.ef_search}"
        self.stdout.write(self.style.SUCCESS(f"Generation {chosen.pk}: {at}, {found.rows:,} vectors."))
        for name, (mean, spread) in sorted(found.background.items()):
            self.stdout.write(f"Unrelated pictures score {mean:.3f} ± {spread:.3f} ({_KINDS[name]}).")
        if not found.reaches_target:
            target = conf.settings().recall_target
            self.stderr.write(f"That is below RECALL_TARGET, {target:.1%}, as wide as an index can search.")


_KINDS = {"image": "image, asked with words", "image_picture": "image, asked with a picture", "caption": "caption"}
