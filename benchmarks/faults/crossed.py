"""`python -m benchmarks.faults.crossed [--seed N] [--short]`: everything that a site does to the same rows at once.

Threads save rows, several in one transaction, update overlapping sets, have sets be indexed again in any order, delete
and upload, while two kinds of workers index. A site that locks rows in the order of their keys must see no deadlock.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from itertools import count

from benchmarks.bars import Bars, Given, experiment
from benchmarks.faults import described, uploads
from benchmarks.faults.site import await_model, running, until

ASSETS, TRANSACTIONS, THREADS = 400, 10_000, 8
SHORT_ASSETS, SHORT_TRANSACTIONS = 120, 500
SET, LONGEST, WORKERS = 30, 300.0, ("worker-read", "worker-embed", "beat", "worker")
"""Assets in one overlapping set; both kinds of workers are at it, so that they also meet each other."""


def run(given: Given, bars: Bars) -> None:
    assets, wanted = (SHORT_ASSETS, SHORT_TRANSACTIONS) if given.short else (ASSETS, TRANSACTIONS)
    with running(*WORKERS, settings={"READER": described.READER, "DOORBELL": "celery"}):
        from mediasearch.models import Asset, Job

        await_model()
        for number in range(assets):
            uploads.upload(number)
        crowd = Crowd(given.seed, assets, wanted)
        started, before = time.monotonic(), _deadlocks()
        crowd.go()
        took = time.monotonic() - started
        bars.note("transactions per second", sum(crowd.done.values()) / took)
        bars.note("of each kind", dict(sorted(crowd.done.items())))
        bars.at_least("site transactions", sum(crowd.done.values()) + sum(crowd.errors.values()), wanted)
        bars.equal("deadlocks seen by the site", dict(crowd.deadlocks), {})
        bars.equal("other errors", dict(crowd.errors.most_common(5)), {})
        left = until(lambda: not Job.objects.unfinished().exists(), LONGEST)
        bars.at_most("until all was done", float("inf") if left is None else left, LONGEST, " s")
        bars.equal("failed", Job.objects.filter(state="failed").count(), 0)
        bars.note("deadlocks by PostgreSQL's own count, workers' included", _deadlocks() - before)
        ids = list(Asset.objects.values_list("pk", flat=True))
        bars.equal("pictures not found by the word read", described.unfound(ids, described.READ.lower()), 0)
        bars.note("pictures", len(ids))


class Crowd:
    """Threads that do one thing after another to the same rows, until so many are done."""

    def __init__(self, seed: int, first: int, wanted: int) -> None:
        self._seed, self._wanted, self._begun, self._new = seed, wanted, count(), count(first)
        self.done: Counter[str] = Counter()
        self.deadlocks: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()

    def go(self) -> None:
        threads = [threading.Thread(target=self._work, args=[who]) for who in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _work(self, who: int) -> None:
        from django.db import connections

        chance = random.Random(f"{self._seed} {who}")
        kinds = list(KINDS)
        while next(self._begun) < self._wanted:
            kind = chance.choices(kinds, [KINDS[one][1] for one in kinds])[0]
            try:
                if kind == "upload":
                    uploads.upload(next(self._new))
                else:
                    KINDS[kind][0](chance)
            except Exception as error:  # Whatever it is: the site would have seen it.
                self._count(kind, error)
            else:
                self.done[kind] += 1
        connections.close_all()

    def _count(self, kind: str, error: Exception) -> None:
        from psycopg.errors import DeadlockDetected

        if isinstance(error.__cause__, DeadlockDetected):
            self.deadlocks[kind] += 1
            self.done[kind] += 1
        else:
            self.errors[f"{kind}: {type(error).__name__}: {str(error).splitlines()[0][:90]}"] += 1


def _some(chance: random.Random, size: int) -> list[int]:
    """Choose ids, in no order."""
    from mediasearch.models import Asset

    ids = list(Asset.objects.order_by().values_list("pk", flat=True))
    return chance.sample(ids, min(size, len(ids)))


def _save_each(chance: random.Random, size: int, *, locked: bool) -> None:
    from django.db import DatabaseError, transaction

    from mediasearch.models import Asset

    with transaction.atomic():
        for pk in sorted(_some(chance, size)):
            rows = Asset.objects.select_for_update() if locked else Asset.objects.all()
            if asset := rows.filter(pk=pk).first():
                asset.title = f"picture {pk} {chance.choice(_WORDS)}"
                try:
                    asset.save(force_update=True)
                except DatabaseError as error:
                    if error.__cause__:  # Else Django's own word that the row was deleted meanwhile.
                        raise
                    return


def _update_public(chance: random.Random) -> None:
    from mediasearch.models import Asset

    Asset.objects.filter(pk__in=_some(chance, SET)).update(is_public=chance.random() < 0.5)


def _update_title(chance: random.Random) -> None:
    from mediasearch.models import Asset

    Asset.objects.filter(pk__in=_some(chance, SET // 3)).update(title=f"picture {chance.choice(_WORDS)}")


def _reindex(chance: random.Random) -> None:
    import mediasearch
    from mediasearch.models import Asset

    assets = list(Asset.objects.filter(pk__in=_some(chance, SET // 3)))
    chance.shuffle(assets)
    mediasearch.reindex(assets)


def _delete(chance: random.Random) -> None:
    from mediasearch.models import Asset

    Asset.objects.filter(pk__in=_some(chance, 2)).delete()


_WORDS = ("harbour", "bridge", "red", "blue", "market", "winter")
KINDS: dict[str, tuple[Callable[[random.Random], None], float]] = {
    "save": (partial(_save_each, size=1, locked=False), 3),
    "save of a row that was locked": (partial(_save_each, size=1, locked=True), 2),
    "several saves in a transaction": (partial(_save_each, size=4, locked=False), 2),
    "several saves of locked rows": (partial(_save_each, size=4, locked=True), 1),
    "update(is_public)": (_update_public, 3),
    "update(title)": (_update_title, 2),
    "reindex": (_reindex, 2),
    "delete": (_delete, 1),
    "upload": (lambda chance: None, 2),
}
"""What is done, and how often beside the others."""


def _deadlocks() -> int:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
        return int(cursor.fetchone()[0])


if __name__ == "__main__":
    experiment(run)
