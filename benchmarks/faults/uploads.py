"""Uploads as a site's people make them: tried again when the database goes away, and each stored once."""

from __future__ import annotations

import io
import random
import threading
import time
from collections.abc import Callable, Iterable, Sequence


def picture(number: int, size: tuple[int, int] = (48, 36)) -> bytes:
    """Return a PNG that no other number has."""
    from PIL import Image

    chance = random.Random(number)
    small = Image.frombytes("RGB", (6, 4), chance.randbytes(72))
    stream = io.BytesIO()
    small.resize(size, Image.Resampling.NEAREST).save(stream, "PNG")
    return stream.getvalue()


def upload(number: int) -> int:
    """Store a picture under its number, if it is not there yet, and return the asset's id."""
    from django.core.files.base import ContentFile

    from mediasearch.models import Asset

    title = f"picture {number}"
    if known := Asset.objects.filter(title=title).values_list("pk", flat=True).first():
        return known  # The answer to its commit was lost.
    return Asset.objects.create(title=title, file=ContentFile(picture(number), name=f"{number}.png")).pk


def store(numbers: Iterable[int]) -> None:
    """Store pictures all at once, and ring for none of them."""
    from django.core.files.base import ContentFile

    from mediasearch.models import Asset

    Asset.objects.bulk_create(
        [Asset(title=f"picture {n}", file=ContentFile(picture(n), name=f"{n}.png")) for n in numbers]
    )


def waits() -> list[float]:
    """Return the seconds from each upload's commit until all was done, by PostgreSQL's clock; inf where it is not."""
    from django.db.models import Count, Max, Min, Q

    from mediasearch.models import Asset

    known = Asset.objects.order_by("pk").annotate(
        left=Count("jobs", filter=~Q(jobs__state="done")), came=Min("jobs__created_at"), over=Max("jobs__finished_at")
    )
    return [
        float("inf") if left or over is None else (over - came).total_seconds()
        for left, came, over in known.values_list("left", "came", "over")
    ]


def at_once(files: Sequence[bytes]) -> list[int]:
    """Store pictures in one transaction, and return their assets' ids."""
    from django.core.files.base import ContentFile
    from django.db import transaction

    from mediasearch.indexing import doorbell
    from mediasearch.models import Asset

    with transaction.atomic():
        assets = Asset.objects.bulk_create(Asset(file=ContentFile(data, name="picture.png")) for data in files)
        doorbell.ring_on_commit()
    return [asset.pk for asset in assets]


class Uploading(threading.Thread):
    """Uploads pictures one after another, at most so many a second, while `may` answers True."""

    def __init__(
        self, count: int, per_second: float, may: Callable[[], bool] = lambda: True, *, first: int = 0
    ) -> None:
        super().__init__(name="uploading", daemon=True)
        self.count, self.stored, self._first = count, 0, first
        self._gap, self._may = 1 / per_second, may

    def run(self) -> None:
        from django.db import connections

        from benchmarks.faults.site import patiently

        for number in range(self.count):
            started = time.monotonic()
            while not self._may():
                time.sleep(0.05)
            patiently(lambda number=number: upload(self._first + number))
            self.stored = number + 1
            time.sleep(max(0.0, self._gap - (time.monotonic() - started)))
        connections.close_all()
