"""`python -m benchmarks.faults.bulk [--seed N] [--short]`: one update() of very many assets, and a kill in its middle.

Each update is made by a process of its own, as a command of the site would be, of assets with an active generation and
jobs that are done. What it costs by the asset must not grow with their number; all or none are changed, and once it
has returned, the text index says what the rows say.
"""

from __future__ import annotations

import random
import statistics
import subprocess
import sys
import time
from collections import defaultdict

from benchmarks.bars import Bars, Given, experiment
from benchmarks.faults import described, library
from benchmarks.faults.site import Site, await_model, patiently, running, until

SIZES, ROUNDS, KILLS = (1_000, 20_000, 100_000), (9, 3, 1), 3
SHORT_SIZES, SHORT_ROUNDS, SHORT_KILLS = (100, 800, 1_600), (3, 2, 1), 1
SLOWER, SHORT_SLOWER, ALL, LONGEST, SWEPT = 1.5, 2.0, 60.0, 180.0, 60.0
_UPDATE = """
import sys, time, django
django.setup()
from django.db import transaction
from mediasearch.models import Asset
first, last, field, value = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
assets = Asset.objects.filter(pk__gte=first, pk__lte=last)
print("begins", flush=True)
started = time.perf_counter()
if sys.argv[5] == "atomic":
    with transaction.atomic():
        assets.update(**{field: value})
else:
    assets.update(**{field: value})
print(time.perf_counter() - started, flush=True)
"""


def run(given: Given, bars: Bars) -> None:
    sizes, rounds, kills = (SHORT_SIZES, SHORT_ROUNDS, SHORT_KILLS) if given.short else (SIZES, ROUNDS, KILLS)
    with running("worker", settings={"READER": described.READER, "DOORBELL": "postgresql"}) as site:
        await_model()
        library.fill(sizes[-1])
        site.supervisor.end("worker")
        chance, words = random.Random(given.seed), _Words()
        seconds = _timed(bars, sizes, rounds, chance, words)
        small, large, most = sizes
        each = {size: 1e3 * statistics.median(seconds[size]) / size for size in sizes}
        bars.note("ms per asset, by how many are updated", {size: round(ms, 3) for size, ms in each.items()})
        slower = SHORT_SLOWER if given.short else SLOWER
        bars.at_most(f"times as slow per asset at {large:,} as at {small:,}", each[large] / each[small], slower)
        bars.at_most(f"update of {most:,}", seconds[most][-1], ALL, " s")
        for _ in range(kills):
            _kill(bars, site, chance, words.next(), most, min(seconds[most][-1], LONGEST / 2))
        _within_a_transaction(bars, site, words.next(), small)


def _timed(
    bars: Bars, sizes: tuple[int, ...], rounds: tuple[int, ...], chance: random.Random, words: _Words
) -> dict[int, list[float]]:
    """Update windows of each size in turn, titles and categories; hold after each that search agrees with SQL."""
    seconds: dict[int, list[float]] = defaultdict(list)
    turns = [size for size, times in zip(sizes, rounds, strict=True) for _ in range(times)]
    chance.shuffle(turns)
    disagreeing, unowed = 0, 0
    for turn, size in enumerate(turns):
        field = "category" if turn % 3 == 2 else "title"
        ids = _window(size, chance)
        _settle()
        word = words.next()
        took = _update(ids, field, word)
        seconds[size].append(took)
        if took == float("inf"):
            bars.note(f"update({field}) of {size:,}", f"not over within {LONGEST:g} s")
            continue
        disagreeing += _disagreeing(field, word, len(ids))
        unowed += abs(_owed() - (len(ids) if field == "title" else 0))
    bars.equal("rows about which search and SQL disagree when update() returns", disagreeing, 0)
    bars.equal("caption vectors that are not owed once for each changed title", unowed, 0)
    return seconds


def _kill(bars: Bars, site: Site, chance: random.Random, word: str, size: int, longest: float) -> None:
    """`kill -9` a process in the middle of its update."""
    _settle()
    process = _begin(_window(size, chance), "title", word)
    moment = chance.uniform(0.1, 0.9) * longest
    time.sleep(moment)
    ended = process.poll() is not None
    process.kill()
    process.wait()
    until(lambda: not _others(), LONGEST)
    changed = _count("title", word)
    bars.hold(f"rows changed, killed after {moment:.1f} s", changed, f"0 or {size:,}", changed in (0, size))
    bars.note("  whether it was over by then", ended)
    if _disagreeing("title", word, changed):  # What follows from the texts may be left to a sweep.
        site.start("worker")
        until(lambda: not _disagreeing("title", word, changed), SWEPT, every=1.0)
        site.supervisor.end("worker")
    bars.equal("  rows about which search and SQL disagree", _disagreeing("title", word, changed), 0)
    bars.equal("  caption vectors owed", _owed(), changed)


def _within_a_transaction(bars: Bars, site: Site, word: str, size: int) -> None:
    """Inside the caller's transaction, what follows from the texts may come later, made by a sweep."""
    _settle()
    ids = _window(size, random.Random(0))
    site.start("worker")
    took = _update(ids, "title", word, within="atomic")
    bars.note(f"update of {size:,} within a transaction, seconds", took)
    agreed = until(lambda: not _disagreeing("title", word, size), SWEPT + 30.0)
    bars.at_most("until search agrees with SQL after it", float("inf") if agreed is None else agreed, SWEPT, " s")


def _begin(ids: list[int], field: str, word: str, within: str = "") -> subprocess.Popen[str]:
    command = [sys.executable, "-c", _UPDATE, str(ids[0]), str(ids[-1]), field, word, within]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    return process


def _update(ids: list[int], field: str, word: str, within: str = "") -> float:
    """Return the seconds that an update takes, inf where it is not over in time and was ended."""
    process = _begin(ids, field, word, within)
    try:
        told, _ = process.communicate(timeout=LONGEST)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        until(lambda: not _others(), LONGEST)
        return float("inf")
    if process.returncode:
        raise RuntimeError(f"update({field}) ended with {process.returncode}.")
    return float(told)


class _Words:
    """Words that no text held before, of letters alone, so that each is one lexeme."""

    def __init__(self) -> None:
        self._given = 0

    def next(self) -> str:
        self._given += 1
        return "newword" + "".join(chr(ord("a") + int(digit)) for digit in f"{self._given:03}")


def _window(size: int, chance: random.Random) -> list[int]:
    """Choose neighbouring ids of the library."""
    from mediasearch.models import Asset

    ids = list(Asset.objects.order_by("pk").values_list("pk", flat=True))
    start = chance.randint(0, len(ids) - size)
    return ids[start : start + size]


def _settle() -> None:
    """Have everything done that is owed, as workers would in time, and the tables in order."""
    from django.db import connection

    from mediasearch.models import Job

    Job.objects.unfinished().update(state="done", token=None, lease_until=None)
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE faults_effect")
        cursor.execute("VACUUM ANALYZE mediasearch_asset, mediasearch_job")


def _owed() -> int:
    """How many caption vectors are owed, or were and are made."""
    from django.db import connection

    from mediasearch.models import Job

    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM faults_effect WHERE what = 'job' AND stage = 'embed_caption'")
        made = int(cursor.fetchone()[0])
    return made + Job.objects.unfinished().filter(stage="embed_caption").count()


def _count(field: str, word: str) -> int:
    from mediasearch.models import Asset

    return patiently(Asset.objects.filter(**{field: word}).count)


def _disagreeing(field: str, word: str, wanted: int) -> int:
    """Return how many rows bear a word and are not found by it, or the other way round, or are too few or many."""
    from mediasearch.models import Asset

    found = Asset.objects.extra(where=["text_vector @@ %s::tsquery"], params=[f"'{word}'"])
    bearing = set(Asset.objects.filter(**{field: word}).values_list("pk", flat=True))
    return len(bearing ^ set(found.values_list("pk", flat=True))) + abs(wanted - len(bearing))


def _others() -> int:
    """How many other sessions the database has that are at something."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
            " AND state <> 'idle'"
        )
        return int(cursor.fetchone()[0])


if __name__ == "__main__":
    experiment(run)
