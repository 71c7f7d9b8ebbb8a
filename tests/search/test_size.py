"""How large a scope is."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.db.models import QuerySet
from django.test.utils import CaptureQueriesContext

from mediasearch.models import Asset
from mediasearch.search import size
from mediasearch.search.signals import Sql

pytestmark = pytest.mark.django_db
COUNT = 2_000


@pytest.fixture
def library() -> None:
    """Assets of which the first half is called odd or even, and one in a hundred is rare."""
    Asset.objects.bulk_create(
        Asset(
            source="library",
            title="odd" if number % 2 else "even",
            category="rare" if number % 100 == 0 else "",
        )
        for number in range(COUNT)
    )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE mediasearch_asset")


def scope(assets: QuerySet[Asset]) -> Sql:
    sql, params = assets.values("pk").query.sql_with_params()
    return Sql(f"SELECT pk AS id FROM ({sql}) AS visible (pk)", tuple(params))


def asked(assets: QuerySet[Asset], estimate: float) -> tuple[bool, str]:
    """Return whether a scope is small, and what was asked to know."""
    with CaptureQueriesContext(connection) as queries:
        small = size.is_small(scope(assets), "default", estimate)
    return small, " ".join(query["sql"] for query in queries)


def test_estimated__is_what_postgresql_expects(library: None) -> None:
    assert size.estimated(scope(Asset.objects.all()), "default") == pytest.approx(COUNT, rel=0.1)
    assert size.estimated(scope(Asset.objects.filter(category="rare")), "default") == pytest.approx(20, rel=0.5)


@pytest.mark.parametrize(("bound", "small"), [(19, False), (20, True), (21, True)])
def test_is_small__a_scope_that_is_expected_to_be_small_is_counted(
    library: None, settings: Any, bound: int, small: bool
) -> None:
    settings.MEDIASEARCH = settings.MEDIASEARCH | {"EXACT_SCOPE": bound}
    answer, queries = asked(Asset.objects.filter(category="rare"), estimate=1.0)
    assert answer is small
    assert "LIMIT" in queries
    assert "TABLESAMPLE" not in queries


def test_is_small__ten_times_too_many_need_no_look(library: None, settings: Any) -> None:
    settings.MEDIASEARCH = settings.MEDIASEARCH | {"EXACT_SCOPE": 100}
    assert asked(Asset.objects.all(), estimate=1_000.0) == (False, "")


def test_is_small__a_sample_is_enough_to_know_a_large_scope(library: None, settings: Any) -> None:
    settings.MEDIASEARCH = settings.MEDIASEARCH | {"EXACT_SCOPE": 300}
    answer, queries = asked(Asset.objects.filter(title="odd"), estimate=1_000.0)
    assert answer is False
    assert "TABLESAMPLE" in queries
    assert "LIMIT" not in queries


def test_is_small__a_scope_that_is_smaller_than_expected_is_counted(library: None, settings: Any) -> None:
    settings.MEDIASEARCH = settings.MEDIASEARCH | {"EXACT_SCOPE": 300}
    answer, queries = asked(Asset.objects.filter(category="rare"), estimate=1_000.0)
    assert answer is True
    assert "TABLESAMPLE" in queries
    assert "LIMIT" in queries


def test_is_small__a_table_that_was_never_analysed(settings: Any) -> None:
    settings.MEDIASEARCH = settings.MEDIASEARCH | {"EXACT_SCOPE": 300}
    assert asked(Asset.objects.all(), estimate=1_000.0)[0] is True
