"""The categories that a search can be narrowed by."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from django.core.exceptions import EmptyResultSet
from django.db import connections

from mediasearch.querysets import AssetQuerySet
from mediasearch.search.signals import Sql
from mediasearch.sources import registry

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser, AnonymousUser

MOST = 200


def visible_categories(user: AbstractBaseUser | AnonymousUser | None) -> list[str]:
    """Return the first categories, in order, that assets have which a user may see."""
    return categories(registry.visible_parts(user))


def categories(scopes: Iterable[AssetQuerySet]) -> list[str]:
    """Return the first categories, in order, of all assets of these querysets, which are of one database.

    Each queryset is asked for the next category after the last one, again and again: one look into an index for each
    category, where the queryset has one that begins with its conditions and goes on with the category.
    """
    walks: list[Sql] = []
    using = ""
    for scope in scopes:
        using = scope.db
        try:
            walks.append(_walk(scope))
        except EmptyResultSet:
            continue
    if not walks:
        return []
    union = " UNION ".join(f"({walk.text})" for walk in walks)
    params = [param for walk in walks for param in walk.params]
    with connections[using].cursor() as cursor:
        cursor.execute(f"SELECT category FROM ({union}) AS every ORDER BY 1 LIMIT %s", [*params, MOST])
        return [category for (category,) in cursor.fetchall()]


def _walk(scope: AssetQuerySet) -> Sql:
    """Return a statement that skips from one category of a queryset to the next. Raises EmptyResultSet."""
    sql, params = scope.order_by().values("category").query.get_compiler(scope.db).as_sql()
    visible = f"SELECT category FROM ({sql}) AS visible (category)"
    return Sql(
        f"WITH RECURSIVE step (category) AS (({visible} WHERE category > '' ORDER BY 1 LIMIT 1) UNION ALL"
        f" SELECT ({visible} WHERE category > step.category ORDER BY 1 LIMIT 1)"
        " FROM step WHERE step.category IS NOT NULL)"
        " SELECT category FROM step WHERE category IS NOT NULL LIMIT %s",
        (*params, *params, MOST),
    )
