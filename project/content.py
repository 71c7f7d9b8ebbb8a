"""What the demo puts into its database: tables, an administrator, pictures. Needs Django to be set up."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time
from pathlib import Path
from typing import TYPE_CHECKING

from django.contrib.auth import get_user_model
from django.core.files import File
from django.core.management import call_command
from django.db import transaction
from django.utils import timezone
from django.utils.text import slugify

from mediasearch import naming
from mediasearch.models import LIBRARY, Asset, Generation, Job, Pause, Stage

if TYPE_CHECKING:
    from project.library.catalog import Picture

ADMINISTRATOR = "admin"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far indexing is."""

    pictures: int
    stages: dict[str, tuple[int, int]]
    """For each stage, how many jobs are over and how many there are."""
    failed: int
    paused: dict[str, str]
    finished: bool


def prepare(password: str) -> None:
    """Bring the tables and the static files up to date, make the administrator, take back what a stop cut off."""
    call_command("migrate", interactive=False, verbosity=0)
    call_command("collectstatic", interactive=False, verbosity=0)
    user, _ = get_user_model().objects.get_or_create(
        username=ADMINISTRATOR, defaults={"is_staff": True, "is_superuser": True}
    )
    if not user.check_password(password):
        user.set_password(password)
        user.save()
    # No worker runs yet: what is marked as running was cut off, and need not wait for its lease to end.
    Job.objects.filter(state=Job.State.RUNNING).requeue()


def import_library() -> Iterator[tuple[int, int]]:
    """Add the sample pictures that are not there yet; yield how many were looked at, and how many there are."""
    from project.library.catalog import pictures

    found, known = list(pictures()), _known()
    for number, picture in enumerate(found, start=1):
        if naming.stem(slugify(picture.key)) not in known:
            _add(picture)
        yield number, len(found)


def import_folder(folder: Path) -> None:
    """Add the pictures of a folder."""
    call_command("mediasearch_import", str(folder))


def progress() -> Progress:
    """Return how far indexing is; finished means that nothing more is owed."""
    counts = Job.objects.progress()
    stages = {
        stage: (sum(n for state, n in states.items() if state not in ("pending", "running")), sum(states.values()))
        for stage in map(str, Stage)
        if (states := counts.get(stage))
    }
    return Progress(
        pictures=Asset.objects.count(),
        stages=stages,
        failed=sum(states.get("failed", 0) for states in counts.values()),
        paused=dict(Pause.objects.current().values_list("stage", "reason")),
        # Vectors are owed only once the worker has loaded the model.
        finished=Generation.objects.active() is not None and all(done == total for done, total in stages.values()),
    )


def _known() -> set[str]:
    """Return the stems of the sample pictures that are stored, with and without what older versions added to them."""
    names = Asset.objects.filter(source=LIBRARY).values_list("file", flat=True)
    stems = {naming.stem(Path(name).name) for name in names}
    return stems | {re.sub(r"_\w{7}$", "", stem) for stem in stems}


def _add(picture: Picture) -> None:
    name = f"{slugify(picture.key)}{picture.path.suffix}"
    with picture.path.open("rb") as stream, transaction.atomic():
        Asset.objects.create(
            file=File(stream, name=name),
            title=picture.title,
            caption=picture.caption,
            tags=list(picture.tags),
            category=picture.category,
            copyright=picture.licence,
            language=picture.language,
            taken_at=_moment(picture.taken),
        )


def _moment(taken: date | datetime | None) -> datetime | None:
    if taken is None:
        return None
    moment = taken if isinstance(taken, datetime) else datetime.combine(taken, time(12))
    return moment if timezone.is_aware(moment) else timezone.make_aware(moment)
