"""Do what is due: batch by batch, until nothing is left."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from mediasearch.exceptions import Unavailable
from mediasearch.indexing import generations, ledger, sessions
from mediasearch.indexing.batch import Batch, pause, take
from mediasearch.indexing.exclusion import Exclusion
from mediasearch.indexing.lanes import Lanes, patiently
from mediasearch.indexing.stages import NEEDS_ENCODER
from mediasearch.models import Job, Pause, Stage

SECONDS = 30.0
"""How long one call of `drain` goes on while there is work, so that others get their turn."""
_drains = Exclusion()
"""Those of this process, of which threads may run several."""


def drain(stages: Sequence[Stage], seconds: float = SECONDS, stopping: Callable[[], bool] = lambda: False) -> bool:
    """Do the due jobs of these stages, batch by batch, each stage in its turn.

    While one batch is computed, the next is opened and the last is written. When `stopping` answers True, the batch
    at hand is finished and the opened one given back. Returns whether work may be left.
    """
    with _drains.shared():
        return _drain(_Turns(stages), time.monotonic() + seconds, stopping)


def _drain(turns: _Turns, end: float, stopping: Callable[[], bool]) -> bool:
    with Lanes() as lanes:
        coming = lanes.ahead(turns.next)
        while True:
            sessions.give_back()
            batch = coming.result()
            if batch is None:
                if not lanes.wait():
                    return False
                coming = lanes.ahead(turns.next)  # What was just written may have led to more.
                continue
            if stopping():
                batch.release()
                lanes.wait()
                return True
            last = time.monotonic() > end or _drains.wanted()
            if batch.alone:  # It may take this process with it: nothing else should be in here.
                lanes.wait()
            elif not last:
                coming = lanes.ahead(turns.next)
            if not _compute(batch):
                batch.release()
                return True
            sessions.give_back()
            lanes.behind(batch.settle)
            if last:
                lanes.wait()
                return True
            if batch.alone:
                lanes.wait()
                coming = lanes.ahead(turns.next)


def _compute(batch: Batch) -> bool:
    """Run the model; on a suspect only while no other drain of this process holds claims. Returns whether it ran."""
    if not batch.alone:
        patiently(batch.compute)
        return True
    with _drains.exclusive(batch.keep) as alone:
        if alone:
            patiently(batch.compute)
        return alone


def warm(stages: Sequence[Stage]) -> None:
    """Load what these stages need, before the first picture waits for it."""
    if NEEDS_ENCODER & set(stages) and not Pause.objects.primary().current().filter(stage__in=NEEDS_ENCODER).exists():
        try:
            generations.ensure_active()
        except Unavailable as fault:
            pause(sorted(NEEDS_ENCODER), fault)


class _Turns:
    """Which stage is next.

    An upload waits for no back-fill, and its stages come in the order in which they were given, those first that
    people wait for. In a back-fill each stage has its turn, so that none waits for another's end.
    """

    def __init__(self, stages: Sequence[Stage]) -> None:
        self._stages = list(stages)
        self._turns = list(stages)

    def next(self) -> Batch | None:
        """Return the next batch, opened; None when no stage has anything due."""
        for stage in self._order():
            if batch := take(stage):
                self._turns.remove(stage)
                self._turns.append(stage)
                return batch
        return None

    def _order(self) -> list[Stage]:
        priority = ledger.urgency(self._stages)
        places = {stage: self._stages if priority[stage] <= Job.UPLOAD else self._turns for stage in priority}
        return sorted(priority, key=lambda stage: (priority[stage], places[stage].index(stage)))
