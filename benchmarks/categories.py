"""`python -m benchmarks.categories [--short]`: how long the list of categories takes, however much is hidden.

A thousand visible pictures in 1, 20 and 500 categories, and 300,000 hidden ones: in one category of their own, in the
same ones, or in 100,000; of nobody, or all of the user who asks or of others. Asked by a visitor, by a user who owns
some, by the owner of all that is hidden, and by one who may see everything. Just written, and after VACUUM.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks import site
from benchmarks.bars import Bars, Given, experiment

VISIBLE, HIDDEN, SHORT_HIDDEN = 1_000, 300_000, 3_000
CATEGORIES = (1, 20, 500)
ROUNDS, SHORT_ROUNDS, BAR = 40, 3, 50.0
HIDDEN_IN = {
    "one of their own": "'zzz hidden'",
    "one that comes first": "'aaa hidden'",
    "the same": "'category ' || n % {count}",
    "a third as many of their own": "'hidden ' || n / 3",
}


def run(given: Given, bars: Bars) -> None:
    site.set_up(model=False)
    hidden, rounds = (SHORT_HIDDEN, SHORT_ROUNDS) if given.short else (HIDDEN, ROUNDS)
    askers = _askers()
    cases = itertools.product(CATEGORIES[:1] if given.short else CATEGORIES, HIDDEN_IN)
    for count, where in cases:
        with _library(count, where, hidden, askers["the owner of all"].pk):
            for moment in ("just written", "after VACUUM"):
                if moment == "after VACUUM":
                    _run("VACUUM ANALYZE mediasearch_asset")
                for who, user in askers.items():
                    _measure(bars, f"{count} categories, hidden in {where}, {moment}, {who}", user, rounds)


def _askers() -> dict[str, Any]:
    from django.contrib.auth import get_user_model
    from django.contrib.auth.models import Permission

    users = get_user_model().objects
    users.filter(username__startswith="bench-").delete()
    everything = users.create_user("bench-everything")
    everything.user_permissions.set(Permission.objects.filter(codename="view_asset"))
    return {
        "a visitor": None,
        "a user": users.create_user("bench-user"),
        "the owner of all": users.create_user("bench-owner"),
        "one who sees everything": everything,
    }


@contextmanager
def _library(count: int, where: str, hidden: int, owner: int) -> Iterator[None]:
    from mediasearch.models import Asset

    Asset.objects.all()._raw_delete(Asset.objects.db)
    _run("VACUUM mediasearch_asset")
    for number, category, public in (
        (hidden, HIDDEN_IN[where].format(count=count), "false"),
        (VISIBLE, f"'category ' || n % {count}", "true"),
    ):
        _run(
            "INSERT INTO mediasearch_asset (source, file, file_version, title, alt_text, caption, caption_source,"
            " category, tags, language, copyright, is_public, owner_id, created_at, modified_at, mime_type,"
            " content_hash, thumbnail, ocr_text, ocr_words, settled)"
            f" SELECT 'library', n || '.jpg', n || '.jpg', 'Picture ' || n, '', '', '', {category}, '{{}}', 'en', '',"
            f" {public}, {owner if public == 'false' else 'NULL'}, now(), now(), 'image/jpeg', md5(n::text), '',"
            f" 'words of a picture', '[]', '{{}}' FROM generate_series(1, {number}) n"
        )
    _run("ANALYZE mediasearch_asset")
    yield
    Asset.objects.all()._raw_delete(Asset.objects.db)


def _measure(bars: Bars, what: str, user: Any, rounds: int) -> None:
    from django.contrib.auth import get_user_model

    from mediasearch.categories import visible_categories
    from mediasearch.sources.registry import visible_to

    times = []
    for _ in range(rounds):
        asker = user and get_user_model().objects.get(pk=user.pk)
        visible_to(asker)  # The page asks so first, which fetches the user's permissions.
        began = time.perf_counter()
        visible_categories(asker)
        times.append((time.perf_counter() - began) * 1e3)
    bars.note(f"{what}: p50, ms", site.percentile(times, 0.5))
    bars.at_most(f"{what}: p95", site.percentile(times, 0.95), BAR, " ms")


def _run(statement: str) -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(statement)


if __name__ == "__main__":
    experiment(run)
