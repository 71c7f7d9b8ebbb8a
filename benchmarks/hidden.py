"""`python -m benchmarks.hidden [QUESTIONS]`: does anything of hidden pictures show?

A thousand hidden pictures lie among a thousand visible ones, with texts, tags and vectors of the same kind. Random
questions are asked by a visitor: words, pictures, both, with filters, sorted, by every fusion and both plans, page by
page; and totals, facets, descriptions and likes are compared with counting by hand.
"""

from __future__ import annotations

import os
import random
import sys
from collections import Counter
from typing import Any

from benchmarks import site

EACH, QUESTIONS, WIDTH = 1_000, 5_000, 16
WORDS = ("red", "green", "blue", "lamp", "tree", "harbour", "2.40", "exit")
CATEGORIES, TAGS = ("cars", "sea", "food", ""), ("old", "new", "large", "small")
ENCODER = {"BACKEND": "mediasearch.features.fake.FakeEncoder"}


def main(questions: int) -> int:
    os.environ["BENCH_WITHOUT_READING"] = "1"
    site.set_up()
    from django.test.utils import override_settings

    from project.settings import MEDIASEARCH

    local = {"ENCODER": ENCODER, "QUERY_ENCODER": {"BACKEND": "mediasearch.features.local.Local"}}
    leaks: Counter[str] = Counter()
    wrong: Counter[str] = Counter()
    chance = random.Random(11)
    with override_settings(MEDIASEARCH=MEDIASEARCH | local):
        visible = _fill(chance)
        for number in range(questions):
            bound = chance.choice([10_000, 1])
            with override_settings(MEDIASEARCH=MEDIASEARCH | local | {"EXACT_SCOPE": bound}):
                _ask(chance, visible, leaks, wrong, exactly=bound > 1)
            if (number + 1) % 500 == 0:
                print(
                    f"{number + 1} questions: leaks {sum(leaks.values())}, wrong counts {sum(wrong.values())}",
                    flush=True,
                )
    print(f"leaks: {sum(leaks.values())} {dict(leaks)}; wrong counts: {sum(wrong.values())} {dict(wrong)}")
    return 1 if leaks.total() or wrong.total() else 0


def _fill(chance: random.Random) -> set[int]:
    """Fill the library; return the ids of what may be seen."""
    import numpy as np

    from mediasearch.indexing import generations
    from mediasearch.models import Asset, Embedding

    generation = generations.ensure_active()
    numbers = np.random.default_rng(2)
    assets = Asset.objects.bulk_create(
        Asset(
            source="library",
            title=" ".join(chance.sample(WORDS, chance.randrange(4))) + ("" if number % 2 else " secret"),
            category=chance.choice(CATEGORIES),
            tags=chance.sample(TAGS, chance.randrange(3)) + ([] if number % 2 else ["hidden"]),
            ocr_text=chance.choice(WORDS),
            is_public=bool(number % 2),
            width=chance.choice([100, 200]),
            height=chance.choice([100, 200]),
        )
        for number in range(2 * EACH)
    )
    vectors = numbers.normal(size=(2, len(assets), WIDTH))
    vectors /= np.linalg.norm(vectors, axis=2, keepdims=True)
    Embedding.objects.bulk_create(
        Embedding(generation=generation, asset=asset, image=image, caption=caption if chance.random() < 0.7 else None)
        for asset, image, caption in zip(assets, *vectors, strict=True)
    )
    return {asset.pk for asset in assets if asset.is_public}


def _ask(chance: random.Random, visible: set[int], leaks: Counter[str], wrong: Counter[str], *, exactly: bool) -> None:
    """Ask one question in one way, and note what it should not have said."""
    kind = chance.choice(["search", "search", "search", "walk", "facets", "describe", "like"])
    asked = _question(chance)
    if kind == "describe":
        return _describe(chance, visible, leaks)
    if kind == "like":
        return _like(chance, visible, leaks)
    if kind == "facets":
        return _facets(asked, leaks, wrong)
    return _search(asked, chance, visible, leaks, wrong, walks=kind == "walk", exactly=exactly)


def _question(chance: random.Random) -> dict[str, Any]:
    from mediasearch.search import fusion
    from mediasearch.search.query import SORTS

    asked: dict[str, Any] = {"text": " ".join(chance.sample((*WORDS, "secret"), chance.randrange(3)))}
    if chance.random() < 0.4:
        asked["image"] = _picture(chance)
    if chance.random() < 0.3:
        asked["category"] = chance.choice(CATEGORIES)
    if chance.random() < 0.3:
        asked["tags"] = [chance.choice((*TAGS, "hidden"))]
    asked["fusion"], asked["sort"] = chance.choice(fusion.NAMES), chance.choice(["relevance", *SORTS])
    return asked


def _picture(chance: random.Random) -> Any:
    import numpy as np

    from mediasearch.models import Generation
    from mediasearch.search.pictures import Picture

    vector = np.random.default_rng(chance.randrange(10**6)).normal(size=WIDTH)
    active = Generation.objects.active()
    assert active is not None
    return Picture(active.fingerprint, (vector / np.linalg.norm(vector)).astype(np.float32))


def _search(
    asked: dict[str, Any],
    chance: random.Random,
    visible: set[int],
    leaks: Counter[str],
    wrong: Counter[str],
    *,
    walks: bool,
    exactly: bool,
) -> None:
    import mediasearch

    limit = chance.choice([1, 24, 40, 41, 200])
    expected = _matches(asked)
    found: list[int] = []
    cursor: str | None = ""
    if walks:
        while cursor is not None and len(found) < 3 * limit:
            results = mediasearch.search(**asked, limit=limit, cursor=cursor)
            found += [hit.asset.pk for hit in results]
            cursor = results.cursor
    else:
        results = mediasearch.search(**asked, limit=limit, offset=chance.choice([0, 0, 5, 300]))
        found = [hit.asset.pk for hit in results]
    leaks["hits"] += len(set(found) - visible)
    wrong["hits twice"] += len(found) - len(set(found))
    wrong["hits that do not match"] += len(set(found) - expected)
    if results.total_is_exact:
        wrong["totals"] += results.total != len(expected)
    leaks["totals"] += results.total > len(expected)
    wrong["plans"] += exactly and results.plan == "hnsw"


def _matches(asked: dict[str, Any]) -> set[int]:
    """What may be seen and matches: all that has vectors, for every picture here has some."""
    from mediasearch.models import Asset

    assets = Asset.objects.filter(is_public=True)
    if asked.get("category"):
        assets = assets.filter(category=asked["category"])
    for tag in asked.get("tags", ()):
        assets = assets.filter(tags__contains=[tag])
    return set(assets.values_list("pk", flat=True))


def _facets(asked: dict[str, Any], leaks: Counter[str], wrong: Counter[str]) -> None:
    import mediasearch
    from mediasearch.models import Asset

    found = mediasearch.search(**asked).facets
    assets = Asset.objects.filter(pk__in=_matches(asked))
    tags = Counter(tag for row in assets.values_list("tags", flat=True) for tag in row)
    categories = Counter(name for name in assets.values_list("category", flat=True) if name)
    if found.is_exact:
        wrong["tags"] += {one.value: one.number for one in found["tags"]} != dict(tags)
        wrong["categories"] += {one.value: one.number for one in found["category"]} != dict(categories)
    leaks["facets"] += sum(one.value == "hidden" for one in found["tags"])


def _describe(chance: random.Random, visible: set[int], leaks: Counter[str]) -> None:
    import mediasearch

    for one in mediasearch.describe(_picture(chance), limit=chance.choice([1, 10, 50])):
        leaks["descriptions"] += "secret" in one.text or one.text == "hidden"
        leaks["origins"] += len({origin.asset.pk for origin in one.origins} - visible)


def _like(chance: random.Random, visible: set[int], leaks: Counter[str]) -> None:
    import mediasearch
    from mediasearch.exceptions import QueryError
    from mediasearch.models import Asset

    asset = Asset.objects.order_by("pk")[chance.randrange(2 * EACH)]
    try:
        found = {hit.asset.pk for hit in mediasearch.search(image=asset)}
    except QueryError:
        leaks["refusals of what may be seen"] += asset.pk in visible
        return
    leaks["likes of hidden pictures"] += asset.pk not in visible
    leaks["likes"] += len(found - visible)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else QUESTIONS))
