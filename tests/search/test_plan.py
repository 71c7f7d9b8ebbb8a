"""Which plan answers, and what PostgreSQL makes of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

import mediasearch
from mediasearch.indexing import generations
from mediasearch.models import Asset, Generation
from mediasearch.search import plan, size
from mediasearch.search.pictures import Picture
from tests.indexing.test_calibration import fill

pytestmark = pytest.mark.django_db(transaction=True)
COUNT = 2_000
SMALL = ("hnsw.ef_search = 40", "enable_seqscan = off", "enable_hashjoin = off", "enable_mergejoin = off")
"""What makes PostgreSQL plan for so few assets as for many; `make bench` looks at 100,000 without."""


@pytest.fixture
def library() -> Iterator[Generation]:
    """Assets with vectors by chance, indexed as on a real site."""
    generation = generations.ensure_active()
    fill(generation, COUNT)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE mediasearch_asset, mediasearch_embedding")
    yield generation
    generations.drop_indexes(generation)


def ask(generation: Generation, **asked: Any) -> mediasearch.Results:
    vector = np.random.default_rng(9).normal(size=16)
    picture = Picture(generation.fingerprint, (vector / np.linalg.norm(vector)).astype(np.float32))
    return mediasearch.search("17 lamp", image=picture, **asked)


def explained(generation: Generation, **asked: Any) -> tuple[str, str]:
    """Return the plan of the engine, and that of PostgreSQL for its statement."""
    with CaptureQueriesContext(connection) as queries:
        results = ask(generation, **asked)
        assert len(results)
    statement = [query["sql"] for query in queries if "AS is_active" in query["sql"]][-1]
    with transaction.atomic(), connection.cursor() as cursor:
        for setting in SMALL:
            cursor.execute(f"SET LOCAL {setting}")
        cursor.execute(f"EXPLAIN {statement}")
        return results.plan, "\n".join(row for (row,) in cursor.fetchall())


def test_execute__a_large_scope_is_asked_of_the_indexes(library: Generation, settings: Any) -> None:
    settings.MEDIASEARCH = settings.MEDIASEARCH | {"EXACT_SCOPE": 10}
    name, shown = explained(library)
    assert name == "hnsw"
    for field in ("image", "caption"):
        assert f"Index Scan using mediasearch_hnsw_{library.pk}_{field}" in shown
    assert "Bitmap Index Scan on mediasearch_asset_text" in shown
    assert "Seq Scan on mediasearch_embedding" not in shown


def test_execute__a_small_scope_is_scored_exactly(library: Generation, settings: Any) -> None:
    few = Asset.objects.filter(pk__lt=Asset.objects.order_by("pk")[100].pk)
    name, shown = explained(library, scope=few)
    assert name == "exact"
    assert "hnsw" not in shown
    assert "Seq Scan on mediasearch_embedding" not in shown


def test_execute__a_page_is_as_full_as_it_can_be(library: Generation, settings: Any) -> None:
    first = Asset.objects.order_by("pk").first()
    assert first is not None
    for bound, share, limit in product([10, 10_000], [1.0, 0.1, 0.01, 0.001], [1, 40, 41, 200, 1_000]):
        settings.MEDIASEARCH = settings.MEDIASEARCH | {"EXACT_SCOPE": bound}
        matches = int(COUNT * share)
        found = ask(library, scope=Asset.objects.filter(pk__lt=first.pk + matches), limit=limit)
        assert len(found) == min(matches, limit), (bound, share, limit)


def test_execute__a_scope_that_is_known_to_be_large_is_not_scored_first(library: Generation, settings: Any) -> None:
    for bound in (10, COUNT // 2):
        settings.MEDIASEARCH = settings.MEDIASEARCH | {"EXACT_SCOPE": bound}
        with CaptureQueriesContext(connection) as queries:
            assert ask(library).plan == "hnsw"
        assert sum("AS is_active" in query["sql"] for query in queries) == 1


def test_execute__a_scope_that_is_larger_than_expected_is_asked_of_the_indexes(
    library: Generation, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.MEDIASEARCH = settings.MEDIASEARCH | {"EXACT_SCOPE": COUNT // 2}
    monkeypatch.setattr(size, "estimated", lambda scope, using: 1.0)
    with CaptureQueriesContext(connection) as queries:
        assert ask(library).plan == "hnsw"
    assert sum("AS is_active" in query["sql"] for query in queries) == 2


def test_execute__a_filter_widens_the_search(library: Generation, settings: Any) -> None:
    settings.MEDIASEARCH = settings.MEDIASEARCH | {"EXACT_SCOPE": 1}
    library.calibration = {"ef_search": 300, "rows": COUNT}
    library.save()

    def width(**asked: Any) -> int:
        """The ef_search that a search sets first."""
        with CaptureQueriesContext(connection) as queries:
            assert ask(library, limit=5, **asked).plan == "hnsw"
        (found, *_) = re.findall(r"set_config\('hnsw\.ef_search', '(\d+)'", " ".join(q["sql"] for q in queries))
        return int(found)

    assert width() == 300
    first = Asset.objects.order_by("pk").first()
    assert first is not None
    assert width(scope=Asset.objects.filter(pk__lt=first.pk + COUNT // 4)) == pytest.approx(600, rel=0.1)


def test_background__is_that_of_the_kind_of_question() -> None:
    known = {"background": {"image": [0.2, 0.1], "image_picture": [0.5, 0.2], "caption": [0.6, 0.3]}}
    generation = Generation(calibration=known)
    assert plan.background(generation, with_picture=False) == {"image": (0.2, 0.1), "caption": (0.6, 0.3)}
    assert plan.background(generation, with_picture=True) == {"image": (0.5, 0.2), "caption": (0.6, 0.3)}
    assert plan.background(None, with_picture=False) == plan.background(Generation(), with_picture=True) == {}
