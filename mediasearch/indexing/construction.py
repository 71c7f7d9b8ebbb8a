"""Build, rebuild and drop indexes while the site goes on.

What breaks off a build leaves an index that searches don't use, and the next run puts that right. PostgreSQL goes on
with a build whose client was killed: whoever finds one under way waits for it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator

from django.db import OperationalError

from mediasearch import conf
from mediasearch.exceptions import MediaSearchError
from mediasearch.indexing import indexes, sessions
from mediasearch.indexing.indexes import BEFORE, BESIDE, Found, Index
from mediasearch.indexing.watching import EVERY, Report, Step, look, watched
from mediasearch.models import Asset, Embedding

logger = logging.getLogger(__name__)
_TRIES = 5
_NO_ROOM = ("53100", "53200")
"""What PostgreSQL says where disk or shared memory is full."""


def build(index: Index, report: Report | None = None) -> None:
    """Have an index as it should be: built where it is missing, replaced where it is invalid or of another make."""
    rows = vectors(index)
    work = _Work(index.name, index.memory(rows), rows, report)
    for there in work.tries():
        if there is None:
            work.run(index.definition())
        elif not there.valid:
            drop([there.name])
        elif there.differs_from(index):
            if work.run(index.definition(BESIDE)):
                _put_in_place(index.name)
        else:
            return


def rebuild(index: Index | str, report: Report | None = None) -> None:
    """Build an index anew while searches go on with the old one; a name is that of an index over texts."""
    if isinstance(index, str):
        there = indexes.found().get(index)
        memory = min(2 * there.size, conf.settings().index_memory) if there else 0
        work = _Work(index, memory, Asset.objects.primary().count(), report)
    else:
        rows = vectors(index)
        work = _Work(index.name, index.memory(rows), rows, report)
    for there in work.tries():
        if there is None:
            raise MediaSearchError(f"There is no index {work.name}.")
        if work.run(f"REINDEX INDEX CONCURRENTLY {work.name}"):
            return


def drop(names: Iterable[str]) -> None:
    """Drop indexes CONCURRENTLY, which waits for those who use them; a name that is not there is no matter."""
    if names := list(names):
        with sessions.for_indexes() as cursor:
            for name in names:
                cursor.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")


def vectors(index: Index) -> int:
    """Count the vectors that an index holds."""
    rows = Embedding.objects.primary().filter(generation=index.generation)
    return rows.filter(**{f"{index.field}__isnull": False}).count()


class _Work:
    """What is done to one index, in as many tries as it takes."""

    def __init__(self, name: str, memory: int, rows: int, report: Report | None) -> None:
        self.name = name
        self._memory, self._rows, self._report = memory, rows, report
        self._parallel = True

    def tries(self) -> Iterator[Found | None]:
        """Yield what is there, when nobody else is at it, and without what an earlier try left."""
        for _ in range(_TRIES):
            if self._others():
                logger.info("%s is being built by another process: waiting for that.", self.name)
                if self._report:
                    self._report(Step(f"{self.name} is being built by another process: waiting for that.", waits=True))
            while self._others():
                if self._report and (step := look(self.name, self._rows)):
                    self._report(step)
                time.sleep(EVERY)
            drop(one.name for one in self._ours() if one.left_over)
            yield indexes.found().get(self.name)
        raise MediaSearchError(f"The index {self.name} can't be built: does another process drop it each time?")

    def run(self, statement: str) -> bool:
        """Execute a statement and return whether that was possible with the parallel workers of this try."""
        try:
            with (
                sessions.for_indexes(self._memory, parallel=self._parallel) as cursor,
                watched(self.name, self._rows, self._report),
            ):
                cursor.execute(statement)
        except OperationalError as error:
            if not self._parallel or getattr(error.__cause__, "sqlstate", None) not in _NO_ROOM:
                raise
            logger.warning("%s: %s; trying again without parallel workers.", self.name, str(error).strip())
            self._parallel = False
            return False
        return True

    def _ours(self) -> list[Found]:
        return [one for one in indexes.found().values() if one.belongs_to(self.name)]

    def _others(self) -> bool:
        """Is another process building it?"""
        return any(one.in_progress for one in self._ours())


def _put_in_place(name: str) -> None:
    """Have an index that was built beside another take its place, in one transaction, so that there is always one."""
    with sessions.for_indexes() as cursor:
        cursor.execute(f"ALTER INDEX {name} RENAME TO {name}{BEFORE}; ALTER INDEX {name}{BESIDE} RENAME TO {name}")
