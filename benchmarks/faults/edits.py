"""`python -m benchmarks.faults.edits [--seed N] [--short]`: people edit pictures in the admin while those are indexed.

Each picture is uploaded, opened on its page at once, and sent back with another category after a moment, in which
workers may have read it, measured it and adopted what its file says. Real web processes, several editors side by side.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from itertools import count

import requests

from benchmarks.bars import Bars, Given, experiment
from benchmarks.faults import described, editors
from benchmarks.faults.changing import Changer
from benchmarks.faults.site import await_model, await_processes, running, until

EDITS, SHORT, EDITORS, LONGEST = 10_000, 120, 10, 600.0
CATEGORY, LONGEST_LOOK, TRIES = "edited", 0.6, 5
"""A page is looked at for so many seconds at most; one that was not stored is opened again so many times."""


def run(given: Given, bars: Bars) -> None:
    edits = SHORT if given.short else EDITS
    settings = {"READER": described.READER, "DOORBELL": "postgresql"}
    with running("worker", "web", settings=settings) as site:
        from mediasearch.models import Asset, Job

        await_model()
        await_processes(site, "web", 2)
        editors.create_account()
        editing = Editing(f"http://127.0.0.1:{site.port}", given.seed, edits)
        started = time.monotonic()
        editing.go()
        bars.note("edits per second", edits / (time.monotonic() - started))
        left = until(lambda: not Job.objects.unfinished().exists(), LONGEST)
        bars.at_most("until the last job is done", float("inf") if left is None else left, LONGEST, " s")
        ids = list(Asset.objects.values_list("pk", flat=True))
        bars.equal("pictures whose category was stored", Asset.objects.filter(category=CATEGORY).count(), edits)
        bars.note("pages that were not stored at first, and what they said", dict(editing.refused.most_common(3)))
        bars.equal("errors", dict(editing.errors.most_common(3)), {})
        bars.note("pages that were opened before what the file says was adopted", editing.overtaken)
        bars.equal("fields lost", dict(_lost(ids)), {})
        bars.equal("failed", Job.objects.filter(state="failed").count(), 0)


def _lost(ids: list[int]) -> Counter[str]:
    """Count the fields that are empty: all were filled, by whoever was first."""
    losses: Counter[str] = Counter()
    for row in described.rows(ids).values():
        losses.update(n for n in (*described.MEASURED, *described.ADOPTED) if row[n] in (None, "", []))
    words = (described.READ, described.TITLE, CATEGORY)
    return +(losses + Counter({f"the word {word}": described.unfound(ids, word.lower()) for word in words}))


class Editing:
    """Some editors at work until so many pictures are edited."""

    def __init__(self, address: str, seed: int, edits: int) -> None:
        self._address, self._seed, self._edits = address, seed, edits
        self._numbers = count()
        self.refused: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self.overtaken = 0

    def go(self) -> None:
        threads = [threading.Thread(target=self._work, args=[who]) for who in range(EDITORS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _work(self, who: int) -> None:
        from django.db import connections

        person, chance = Changer(self._address), random.Random(f"{self._seed} {who}")
        while (number := next(self._numbers)) < self._edits:
            try:
                self._edit(person, described.upload(number).pk, chance)
            except (requests.RequestException, RuntimeError) as error:
                self.errors[f"{type(error).__name__}: {error}"] += 1
        connections.close_all()

    def _edit(self, person: Changer, asset: int, chance: random.Random) -> None:
        for _ in range(TRIES):
            page = person.open(asset)
            time.sleep(chance.uniform(0.0, LONGEST_LOOK))
            self.overtaken += dict(page).get("title") != described.TITLE
            if not (said := person.send(asset, page, category=CATEGORY)):
                return
            self.refused[said] += 1
        raise RuntimeError(f"Picture {asset} was not stored in {TRIES} tries.")


if __name__ == "__main__":
    experiment(run)
