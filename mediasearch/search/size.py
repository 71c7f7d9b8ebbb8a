"""How large a scope is: whether all of it can be looked at.

PostgreSQL's estimates alone misroute (of filters that depend on each other they are off by 30 to 100 times), so they
decide only where they see ten times too many. Else some pages of the table are looked at, by chance, which is enough to
know a large scope; and where that does not tell, the scope is counted, no further than it matters.
"""

from __future__ import annotations

import json

from django.db import connections

from mediasearch import conf
from mediasearch.models import Asset
from mediasearch.search.signals import Sql

_SURE = 10
_SAMPLE, _ENOUGH = 2_000, 100
"""Assets that are looked at, and how many of them must be in a scope to tell."""
_TABLE = Asset._meta.db_table


def estimated(scope: Sql, using: str) -> float:
    """Return how many rows PostgreSQL expects of a scope, or of any other query: a sixth of a millisecond."""
    with connections[using].cursor() as cursor:
        cursor.execute(f"EXPLAIN (FORMAT JSON) {scope.text}", scope.params)
        found = cursor.fetchone()[0]
    return float((json.loads(found) if isinstance(found, str) else found)[0]["Plan"]["Plan Rows"])


def is_small(scope: Sql, using: str, estimate: float) -> bool:
    """Return whether a scope, expected to have so many assets, has at most about MEDIASEARCH["EXACT_SCOPE"]."""
    bound = conf.settings().exact_scope
    if estimate >= _SURE * bound:
        return False
    if estimate > bound and _sampled(scope, using) > bound:
        return False
    return _counted(scope, using, bound + 1) <= bound


def _sampled(scope: Sql, using: str) -> float:
    """Return how many assets a scope has by a sample of the table; 0 where too few of them are in it to tell."""
    table = f"(SELECT greatest(reltuples, 1) AS rows FROM pg_class WHERE oid = '{_TABLE}'::regclass)"
    sql = (
        f"WITH sample AS MATERIALIZED (SELECT id FROM {_TABLE} TABLESAMPLE SYSTEM (least(100, %s / {table})))"
        f" SELECT {table}, (SELECT count(*) FROM sample),"
        f" (SELECT count(*) FROM ({scope.text}) AS visible WHERE id = ANY (ARRAY(SELECT id FROM sample)))"
    )
    with connections[using].cursor() as cursor:
        cursor.execute(sql, (100.0 * _SAMPLE, *scope.params))
        rows, sampled, found = cursor.fetchone()
    return float(rows * found / sampled) if found >= _ENOUGH else 0.0


def _counted(scope: Sql, using: str, most: int) -> int:
    with connections[using].cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM ({scope.text} LIMIT %s) AS counted", (*scope.params, most))
        return int(cursor.fetchone()[0])
