"""A large library that was indexed long ago: copies of a few pictures that really were, made by PostgreSQL at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from benchmarks.faults import uploads
from benchmarks.faults.site import until

COPY = "copies"
"""The category of all that is copied."""
_PATTERNS, _FIRST, _LONGEST = 4, 5_000_000, 60.0
_HASH = "md5(random()::text) || md5(random()::text)"
# Vectors that are all the same would make the index of vectors slower than any real ones.
_VECTOR = "l2_normalize(ARRAY[" + ", ".join(["random()"] * 16) + "]::real[]::halfvec(16))"


def fill(count: int) -> None:
    """Add so many assets with vectors and jobs that are done; workers must be at work, to index what is copied."""
    from django.core.files.base import ContentFile
    from django.db import connection, transaction

    from mediasearch.models import Asset, Embedding, Job

    names = [f"pattern-{number}.png" for number in range(_PATTERNS)]
    files = [ContentFile(uploads.picture(_FIRST + n), name=name) for n, name in enumerate(names)]
    patterns = [Asset.objects.create(file=file, category=COPY).pk for file in files]
    if until(lambda: not Job.objects.unfinished().exists(), _LONGEST) is None:
        raise TimeoutError(f"The patterns of the library were not indexed within {_LONGEST:g} s.")
    asset, embedding, job = (model._meta.db_table for model in (Asset, Embedding, Job))
    with transaction.atomic(), connection.cursor() as cursor, _without_graphs(cursor, embedding):
        cursor.execute("SET LOCAL session_replication_role = replica")  # No triggers: nothing in here can dangle.
        columns, values = _columns(Asset, {"content_hash": _HASH, "perceptual_hash": "(random() * 9e18)::bigint"})
        cursor.execute(
            f"INSERT INTO {asset} ({columns}) SELECT {values} FROM {asset} AS t, generate_series(1, %s)"
            " WHERE t.id = ANY (%s)",
            [-(-count // _PATTERNS), patterns],
        )
        for model, replaced in ((Embedding, {"image": _VECTOR}), (Job, {})):
            columns, values = _columns(model, {"asset_id": "copy.id", **replaced})
            cursor.execute(
                f"INSERT INTO {model._meta.db_table} ({columns}) SELECT {values} FROM {model._meta.db_table} AS t"
                f" JOIN {asset} AS pattern ON pattern.id = t.asset_id JOIN {asset} AS copy ON copy.file = pattern.file"
                " WHERE pattern.id = ANY (%s) AND copy.id <> pattern.id",
                [patterns],
            )
    with connection.cursor() as cursor:
        cursor.execute(f"VACUUM ANALYZE {asset}, {embedding}, {job}")


@contextmanager
def _without_graphs(cursor: Any, table: str) -> Iterator[None]:
    """Drop the HNSW indexes of a table, and build them again afterwards: ten times as fast as to insert into them."""
    cursor.execute(
        "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = %s AND indexdef LIKE '%%USING hnsw%%'", [table]
    )
    graphs = cursor.fetchall()
    for name, _ in graphs:
        cursor.execute(f'DROP INDEX "{name}"')
    yield
    cursor.execute("SET LOCAL maintenance_work_mem = '512MB'")
    for _, definition in graphs:
        cursor.execute(definition.replace("%", "%%"))


def _columns(model: Any, replaced: Mapping[str, str]) -> tuple[str, str]:
    """Return the names of a table's columns but for its key, and what a copy of the row `t` holds in each."""
    names: Sequence[str] = [field.column for field in model._meta.concrete_fields if not field.primary_key]
    return ", ".join(names), ", ".join(replaced.get(name, f"t.{name}") for name in names)
