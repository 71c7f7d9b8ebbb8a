from __future__ import annotations

import pytest
from django.db import OperationalError, connection

from mediasearch import identity

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "_marks", {})


def test_of_database__is_asked_for_once_in_a_while(django_assert_num_queries: object) -> None:
    first = identity.of_database("default")
    assert len(first) == 16
    with django_assert_num_queries(0):  # type: ignore[operator]
        assert identity.of_database("default") == first
    identity._marks.clear()
    assert identity.of_database("default") == first


def test_of_database__a_role_that_may_not_know_the_server() -> None:
    whole = identity.of_database("default")
    identity._marks.clear()
    with connection.cursor() as cursor:
        cursor.execute("REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC")
        cursor.execute("CREATE ROLE humble_visitor; GRANT SELECT ON mediasearch_asset TO humble_visitor")
        cursor.execute("SET LOCAL ROLE humble_visitor")
    mark = identity.of_database("default")
    with connection.cursor() as cursor:
        cursor.execute("RESET ROLE")
    assert len(mark) == 16
    assert mark != whole


def test_of_database__tables_of_another_schema_are_another_site() -> None:
    first = identity.of_database("default")
    identity._marks.clear()
    with connection.cursor() as cursor:
        cursor.execute("CREATE SCHEMA neighbour; CREATE TABLE neighbour.mediasearch_asset (id int)")
        cursor.execute("SET LOCAL search_path = neighbour, public")
    assert identity.of_database("default") != first


def test_of_database__away_it_is_what_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(using: str) -> str:
        raise OperationalError("no route to host")

    monkeypatch.setattr(identity, "_mark", fail)
    assert identity.of_database("default") == ""
    assert not identity.is_foreign("another", "default")
    identity._marks["default"] = ("before", 0.0)
    assert identity.of_database("default") == "before"
    assert identity.is_foreign("another", "default")
    assert not identity.is_foreign("before", "default")


@pytest.mark.parametrize("mark", [None, ""])
def test_is_foreign__not_what_bears_no_mark(mark: str | None) -> None:
    assert not identity.is_foreign(mark, "default")
