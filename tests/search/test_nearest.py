"""The nearest assets, by the index and without it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from mediasearch.indexing import generations
from mediasearch.models import Asset, Embedding, Generation
from mediasearch.search.nearest import nearest
from tests.vectors import fill

pytestmark = pytest.mark.django_db(transaction=True)
NUMBER = 20


@pytest.fixture
def filled(foreign_generation: Generation) -> Iterator[Generation]:
    """A generation with two thousand random vectors in each of its three fields, and their indexes."""
    fill(foreign_generation, 2_000)
    generations.build_indexes(foreign_generation)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE mediasearch_asset, mediasearch_embedding")
    yield foreign_generation
    generations.drop_indexes(foreign_generation)


def exact(vector: Any, field: str, scope: Any) -> list[int]:
    rows = list(Embedding.objects.filter(asset__in=scope).values_list("asset", field))
    asked = vector.astype(np.float16).astype(np.float32)  # As PostgreSQL compares it.
    scores = np.array([row for _, row in rows], dtype=np.float32).reshape(-1, 16) @ asked
    return [rows[place][0] for place in np.argsort(-scores)[:NUMBER]]


@pytest.mark.parametrize("exact_scope", [10_000, 1], ids=["exact", "hnsw"])
def test_nearest__is_what_numpy_finds(filled: Generation, settings: Any, exact_scope: int) -> None:
    settings.MEDIASEARCH = settings.MEDIASEARCH | {"EXACT_SCOPE": exact_scope}
    rng = np.random.default_rng(1)
    ids = Asset.objects.order_by("pk").values_list("pk", flat=True)
    scopes = {
        "all": Asset.objects.all(),
        "a tenth": Asset.objects.filter(pk__lt=ids[200]),
        "none": Asset.objects.none(),
    }
    fields = ("image_caption", "image")
    least = 1.0 if exact_scope > 1 else 0.95
    for scope in scopes.values():
        recalls = []
        for _ in range(5):
            vector = rng.normal(size=16).astype(np.float32)
            vector /= np.linalg.norm(vector)
            for field, near in zip(fields, nearest(vector, fields, filled, scope, NUMBER), strict=True):
                found = [pk for pk, _ in near]
                expected = exact(vector, field, scope)
                assert len(found) == len(expected) == len(set(found))
                recalls += [len(set(found) & set(expected)) / NUMBER] if expected else []
        assert not recalls or np.mean(recalls) >= least


def test_nearest__a_large_scope_asks_the_index_and_leaves_no_setting_behind(filled: Generation, settings: Any) -> None:
    settings.MEDIASEARCH = settings.MEDIASEARCH | {"EXACT_SCOPE": 1}
    vector = np.eye(16, dtype=np.float32)[0]
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL hnsw.ef_search = 77")
        with CaptureQueriesContext(connection) as asked:
            nearest(vector, ["image_caption"], filled, Asset.objects.all(), NUMBER)
        (statement,) = [query["sql"] for query in asked if "<#>" in query["sql"]]
        cursor.execute("SELECT current_setting('hnsw.ef_search'), current_setting('hnsw.iterative_scan')")
        assert cursor.fetchone() == ("77", "off")
        cursor.execute(f"EXPLAIN {statement}")
        assert f"mediasearch_hnsw_{filled.pk}_image_caption" in "\n".join(row for (row,) in cursor.fetchall())


def test_nearest__as_many_as_there_are(filled: Generation, settings: Any) -> None:
    settings.MEDIASEARCH = settings.MEDIASEARCH | {"EXACT_SCOPE": 1}
    few = list(Asset.objects.values_list("pk", flat=True)[:7])
    Embedding.objects.exclude(asset__in=few).update(image_caption=None)
    vector = np.eye(16, dtype=np.float32)[0]
    (found,) = nearest(vector, ["image_caption"], filled, Asset.objects.all(), NUMBER)
    assert {pk for pk, _ in found} == set(few)
