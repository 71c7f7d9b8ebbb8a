"""What is measured, one function for each row of the table in benchmarks/RESULTS.md."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from django.db.models import Count, QuerySet

import mediasearch
from benchmarks.engine import filters
from benchmarks.engine.asking import EXACT, HNSW, Question
from benchmarks.engine.bench import Bench
from benchmarks.engine.filters import Filter
from benchmarks.engine.rounds import Ran, ratio
from benchmarks.engine.statements import Recorded, legs, recorded
from mediasearch.indexing import indexes
from mediasearch.models import Asset
from mediasearch.search.results import Results

RECALL = 0.95
LEG = {"image": 1.0}
VECTORS = {"image": 1.0, "caption": 1.0}
PAGES = (1, 40, 41, 200, 1_000)
QDRANT_EFS = (32, 48, 64, 100, 160, 256, 400, 640)
QDRANT_MOST = 300_000
"""Above so many assets Qdrant's shard takes more than an hour to build here."""
PLANNED = 50_000
"""Below so many assets reading a whole table may be the best plan."""


def recall(bench: Bench) -> None:
    """Fused, without a filter, against the same formula with every leg exact; and by a picture alone."""
    narrowed = filters.everything()
    mask = bench.truth.mask(narrowed.name, narrowed.scope)
    asked = bench.everywhere(narrowed)
    by_picture = bench.everywhere(narrowed, LEG, by_picture=True)
    times = bench.compare({"words": asked.ask, "picture": by_picture.ask}, 100)
    words, picture = times["words"], times["picture"]
    fused = bench.keep("fused recall", bench.recall(words, partial(bench.best, narrowed=narrowed)))
    bench.bars.at_least("fused recall without a filter", fused, RECALL)
    alone = bench.recall(picture, partial(bench.truth.alone, mask=mask, field="pictures"))
    bench.bars.at_least("recall by a picture", bench.keep("picture recall", alone), RECALL)
    bench.bars.hold("plan", ", ".join(sorted(words.plans)), "hnsw", words.plans == {"hnsw"})
    bench.bars.note("p50 of plan and ranking, ms", bench.keep("fused p50", words.p50))
    bench.bars.note("p50 by a picture, ms", bench.keep("picture p50", picture.p50))


def statement(bench: Bench) -> None:
    """The engine's statement against the sum of its legs, each run alone."""
    asked = bench.everywhere(filters.everything())
    taken: dict[int, Recorded] = {}
    for number in bench.some(30):
        with recorded() as statements:
            asked.ask(number)
        sql, params = statements.ranking()
        taken[number] = Recorded(statements.settings(), (sql, params), legs(sql, params))
    if len(taken[0].legs) != 3:
        raise SystemExit(f"The statement should have three legs, and has {[*taken[0].legs]}.")
    ways = {name: partial(_again, taken, name) for name in ("statement", *taken[0].legs)}
    times = bench.compare(ways, len(taken))
    alone = sum(times[name].p50 for name in taken[0].legs)
    share = bench.keep("statement / legs", times["statement"].p50 / alone)
    bench.bars.at_most("statement against the sum of its legs", share, 1.25, " x")
    bench.bars.note("p50, ms", ", ".join(f"{name} {one.p50:.2f}" for name, one in times.items()))


def _again(taken: Mapping[int, Recorded], name: str, number: int) -> Ran:
    """Run the statement of a question, or one of its legs, once more."""
    recorded = taken[number]
    return recorded.run(*(recorded.whole if name == "statement" else recorded.legs[name]))


def narrowed(bench: Bench) -> None:
    """Filters of every size, correlated and not: fused recall, and 1 wherever the plan is exact."""
    for share in filters.SHARES:
        for narrow in (filters.uncorrelated, filters.correlated):
            one = narrow(bench.library, share)
            times = bench.compare({"engine": bench.ask(one).ask}, 40, rounds=1)["engine"]
            found = bench.recall(times, partial(bench.best, narrowed=one))
            by = ", ".join(sorted(times.plans))
            bench.bars.at_least(f"{one.name}: fused recall by {by}", bench.keep(f"{one.name}: recall", found), RECALL)
            exact = [(number, ran) for number, ran in times.answers() if ran.plan == "exact"]
            whole = sum(bench.best(number, one).recall(ran.places) == 1.0 for number, ran in exact)
            bench.bars.equal(f"{one.name}: whole answers of the exact plan", whole, len(exact))
            bench.bars.note(f"{one.name}: p50, ms", bench.keep(f"{one.name}: p50", times.p50))


def recipe(bench: Bench) -> None:
    """Fused at 3 to 5 % against three HNSW legs with iterative scan, then RRF, as the planner runs it."""
    library = bench.library
    for one, most in (
        (filters.uncorrelated(library, 0.05), 0.40),
        (filters.uncorrelated(library, 0.03), 0.40),
        (filters.correlated(library, 0.05), 0.25),
        (filters.correlated(library, 0.03), 0.25),
        (filters.a_category(library), 0.25),
    ):
        _against_recipe(bench, one, most)


def one_percent(bench: Bench) -> None:
    """At 1 %: one leg against the same leg forced onto HNSW, and fused against the recipe."""
    for narrow in (filters.uncorrelated, filters.correlated):
        one = narrow(bench.library, 0.01)
        mask = bench.truth.mask(one.name, one.scope)
        name = indexes.wanted(bench.library.generation)[0].name
        if name not in bench.recipes.leg_plan(one.scope, "image"):
            raise SystemExit(f"PostgreSQL could not be brought to use {name}.")
        ways = {"engine": bench.ask(one, LEG).ask, "HNSW": bench.recipes.leg(one.scope, "image")}
        times = bench.compare(ways, 30)
        share = bench.keep(f"{one.name}: one leg / HNSW", ratio(times["engine"], times["HNSW"]))
        bench.bars.at_most(f"{one.name}: one leg against HNSW", share, 0.10, " x")
        for way, took in times.items():
            found = bench.recall(took, partial(bench.truth.alone, mask=mask, field="image"))
            bench.bars.note(f"{one.name}: {way}", f"recall {found:.3f}, p50 {took.p50:.2f} ms")
        _against_recipe(bench, one, 1.0)


def _against_recipe(bench: Bench, one: Filter, most: float) -> None:
    ways = {"engine": bench.ask(one).ask, "recipe": bench.recipes.fused(one.scope)}
    times = bench.compare(ways, 30)
    share = bench.keep(f"{one.name}: fused / recipe", ratio(times["engine"], times["recipe"]))
    bench.bars.at_most(f"{one.name}: fused against the recipe", share, most, " x")
    mask = bench.truth.mask(one.name, one.scope)
    own = bench.recall(times["engine"], partial(bench.best, narrowed=one))
    other = bench.recall(times["recipe"], partial(bench.recipes.best, mask=mask))
    bench.bars.note(
        f"{one.name}: engine by {', '.join(sorted(times['engine'].plans))}",
        f"recall {own:.3f}, p50 {times['engine'].p50:.2f} ms, with fetching {times['engine'].whole:.2f} ms",
    )
    plan = bench.recipes.fused_plan(one.scope)
    used = sum(index.name in plan for index in indexes.wanted(bench.library.generation))
    what = f"{one.name}: recipe, {used} of its vector legs by HNSW"
    bench.bars.note(what, f"recall {other:.3f}, p50 {times['recipe'].p50:.2f} ms")


def router(bench: Bench) -> None:
    """The plan that is chosen against the better of the two, for all that sites filter by."""
    worst = 0.0
    for one in filters.sweep(bench.library):
        size = one.scope.count()
        ways = {
            "chosen": bench.ask(one).ask,
            "exact": bench.ask(one, bound=EXACT).ask,
            "hnsw": bench.ask(one, bound=HNSW).ask,
        }
        times = bench.compare(ways, 10, rounds=2, seconds=15)
        share = times["chosen"].p50 / min(times["exact"].p50, times["hnsw"].p50)
        worst = max(worst, share)
        took = ", ".join(f"{name} {one_way.p50:.1f}" for name, one_way in times.items())
        by = ", ".join(sorted(times["chosen"].plans))
        bench.bars.at_most(f"{one.name} ({size:,} assets), by {by}; p50 in ms: {took}", share, 1.5, " x")
    bench.keep("router, worst", worst)


def qdrant(bench: Bench) -> None:
    """Two vector legs, fused, against Qdrant's own engine at the same recall: without a filter, and at 1 %."""
    if bench.library.number > QDRANT_MOST:
        print(f"  left out above {QDRANT_MOST:,} assets")
        return
    from benchmarks.engine.rival import Rival

    rival, share = Rival(bench.library), 0.01
    for one, below, most in (
        (filters.everything(), None, 2.0),
        (filters.uncorrelated(bench.library, share), filters.below(bench.library, share), 3.0),
    ):
        mask = bench.truth.mask(one.name, one.scope)

        asked = bench.everywhere(one, VECTORS) if below is None else bench.ask(one, VECTORS)
        own = bench.compare({"engine": asked.ask}, 50, rounds=1)["engine"]
        wanted = bench.recall(own, partial(bench.best, narrowed=one, weights=VECTORS))
        for ef in QDRANT_EFS:
            other = bench.compare({"qdrant": rival.way(ef, below)}, 50, rounds=1)["qdrant"]
            if (found := bench.recall(other, partial(rival.best, bench.truth, mask=mask))) >= wanted:
                break
        times = bench.compare({"engine": asked.ask, "qdrant": rival.way(ef, below)}, 50)
        figure = bench.keep(f"{one.name}: engine / qdrant", ratio(times["engine"], times["qdrant"]))
        bench.bars.at_most(f"{one.name}: engine against Qdrant", figure, most, " x")
        bench.bars.note(f"{one.name}: engine", f"recall {wanted:.3f}, p50 {times['engine'].p50:.2f} ms")
        bench.bars.note(f"{one.name}: Qdrant, ef {ef}", f"recall {found:.3f}, p50 {times['qdrant'].p50:.2f} ms")


def python(bench: Bench) -> None:
    """What a search takes above its statement: planning, fetching, building hits."""
    for one in (filters.everything(), filters.uncorrelated(bench.library, 0.01)):
        asked = bench.ask(one)

        def above(number: int, asked: Question = asked) -> Ran:
            with recorded() as statements:
                ran = asked.ask(number)
            return Ran(ran.places, ran.whole - statements.ranking_ms())

        took = bench.compare({"above": above}, 40)["above"].p50
        bench.bars.at_most(f"{one.name}: above the statement", bench.keep(f"{one.name}: above", took), 3.0, " ms")


def pages(bench: Bench) -> None:
    """As many rows as there are matches, or as were asked for, at every selectivity and page size."""
    for share in filters.SHARES:
        for narrow in (filters.uncorrelated, filters.correlated):
            one = narrow(bench.library, share)
            matches = one.scope.count()
            for size in bench.of(PAGES):
                for bound in (None, HNSW):
                    found = {
                        len(bench.ask(one, limit=size, bound=bound).ask(number).places) for number in bench.some(2)
                    }
                    by = "the chosen plan" if bound is None else "HNSW"
                    bench.bars.equal(f"{one.name}, page of {size}, by {by}", found, {min(matches, size)})


def plans(bench: Bench) -> None:
    """How PostgreSQL goes about each plan: HNSW where it is meant, and no table of vectors read from end to end."""
    wanted = [index.name for index in indexes.wanted(bench.library.generation)]
    half, few = (filters.uncorrelated(bench.library, share) for share in (0.5, 0.01))
    for one, bound, names in (
        (filters.everything(), HNSW, wanted),
        (half, HNSW, wanted),
        (few, EXACT, []),
    ):
        with recorded() as statements:
            bench.ask(one, bound=bound).ask(0)
        explanation = Recorded(statements.settings(), statements.ranking(), {}).plan()
        what = f"{one.name}, {'HNSW' if names else 'exact'}"
        if bench.library.number < PLANNED:
            print(f"  {what}: not looked at below {PLANNED:,} assets")
            continue
        used = [name for name in wanted if name in explanation]
        bench.bars.equal(f"{what}: HNSW indexes used", used, names)
        bench.bars.equal(f"{what}: reads all vectors", "Seq Scan on mediasearch_embedding" in explanation, False)


def facets(bench: Bench) -> None:
    """Facets in time, else marked as estimates; and as many as there are, within the error that they state."""
    if not hasattr(Results, "facets"):
        print("  left out: searches have no facets yet")
        return
    for one in (filters.everything(), filters.uncorrelated(bench.library, 0.1)):
        found: dict[int, Any] = {}

        def way(number: int, scope: QuerySet[Asset] = one.scope, found: dict[int, Any] = found) -> Ran:
            results = mediasearch.search(str(bench.library.asked["words"][number]), scope=scope)
            len(results)  # So that only the facets are timed.
            started = time.perf_counter()
            found[number] = results.facets
            return Ran((), (time.perf_counter() - started) * 1e3)

        took = bench.compare({"facets": way}, 20)["facets"].p50
        exact = all(facet.is_exact for facet in found.values())
        bench.keep(f"{one.name}: facets", took)
        what = f"{one.name}: facets{'' if exact else ', as estimates'}, ms"
        bench.bars.hold(what, took, "<= 60", took <= 60 or not exact, excused=bench.short)
        counted = dict(one.scope.values_list("category").annotate(Count("pk")).order_by())
        off = [abs(said.number - counted[said.value]) <= said.error for f in found.values() for said in f["category"]]
        bench.bars.at_least(f"{one.name}: categories within the error that is stated", statistics.fmean(off), 0.9)


def growth(bench: Bench) -> None:
    """A million against 100,000: run both sizes, this one last."""
    own = bench.figures.found
    for number, other in bench.figures.others():
        if "fused p50" not in other or "fused p50" not in own or number > bench.library.number:
            continue
        what = f"p50 at {bench.library.number:,} against {number:,}, recall {own['fused recall']:.3f} and"
        share = own["fused p50"] / other["fused p50"]
        if (bench.library.number, number) == (1_000_000, 100_000):
            bench.bars.at_most(f"{what} {other['fused recall']:.3f}", share, 3.0, " x")
        else:
            bench.bars.note(f"{what} {other['fused recall']:.3f}", f"{share:.2f} x")


ROWS: dict[str, Callable[[Bench], None]] = {
    "recall": recall,
    "statement": statement,
    "filters": narrowed,
    "recipe": recipe,
    "one-percent": one_percent,
    "router": router,
    "qdrant": qdrant,
    "python": python,
    "pages": pages,
    "plans": plans,
    "facets": facets,
    "growth": growth,
}
