"""Rows into the app's tables: by binary COPY, 13 times faster than text, with text vectors by the app's own code."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any

from django.contrib.auth.models import Group, User
from django.db import connection, models
from django.db.models.expressions import RawSQL
from pgvector import HalfVector
from pgvector.psycopg import register_vector

from benchmarks.engine import asked, data
from mediasearch import conf
from mediasearch.models import Asset, Embedding, Generation

if TYPE_CHECKING:
    from benchmarks.engine.library import Library

USERS, GROUPS = 200, 20
START, SPAN = datetime(2015, 1, 1, tzinfo=UTC), timedelta(days=3_650)
"""The assets' dates are evenly spread over ten years."""
_ASSETS, _EMBEDDINGS = Asset._meta.db_table, Embedding._meta.db_table
_LOT = 5_000
_SAMPLE = 20


def moment(place: float, number: int) -> datetime:
    """Return the date of a place, of so many: just so many assets lie before it."""
    return START + SPAN * (place / number)


@contextmanager
def without_indexes() -> Iterator[None]:
    """Drop the indexes that no constraint needs while rows are loaded, and make them again as they were."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index"
            " WHERE indrelid IN (%s::regclass, %s::regclass)"
            " AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid)",
            [_ASSETS, _EMBEDDINGS],
        )
        found = cursor.fetchall()
        for name, _ in found:
            cursor.execute(f"DROP INDEX {name}")
        yield
        cursor.execute("SET maintenance_work_mem = '1GB'")
        for _, definition in found:
            cursor.execute(definition)
        cursor.execute("RESET maintenance_work_mem")


def load_assets(library: Library) -> None:
    """Write assets, their owners included, with all that `Asset.prepare` sets."""
    users = _make_users()
    fields = [field for field in Asset._meta.concrete_fields if field.name != "text_vector"]
    names = ", ".join(field.column for field in fields)
    assets = _assets(library, users)
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE TEMP TABLE staged (LIKE {_ASSETS}); ALTER TABLE staged ADD parts text[]")
        types = [*_types(cursor, "staged", [field.column for field in fields]), "text[]"]
        while lot := list(islice(assets, _LOT)):
            by_sql: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
            for asset in lot:
                vector = asset.text_vector
                assert isinstance(vector, RawSQL)
                by_sql[vector.sql].append((*(_stored(field, asset) for field in fields), [*map(str, vector.params)]))
            for sql, rows in by_sql.items():
                _copy(cursor, f"staged ({names}, parts)", types, rows)
                made = _numbered(sql)
                cursor.execute(f"INSERT INTO {_ASSETS} ({names}, text_vector) SELECT {names}, {made} FROM staged")
                cursor.execute("TRUNCATE staged")
        cursor.execute("DROP TABLE staged")
        cursor.execute("SELECT setval(pg_get_serial_sequence(%s, 'id'), %s)", [_ASSETS, library.number])


def load_embeddings(library: Library) -> None:
    """Write the vectors of one active generation, in the order of the assets."""
    spec = conf.settings().encoder.as_dict()
    generation = Generation.objects.create(
        state=Generation.State.ACTIVE,
        encoder=spec,
        fingerprint=asked.FINGERPRINT,
        dimensions=data.DIMENSIONS,
        caption_fingerprint=asked.FINGERPRINT,
        caption_dimensions=data.DIMENSIONS,
    )
    columns = ["generation_id", "asset_id", "image", "caption"]
    captioned = library.columns.captioned
    own = connection.copy()  # Closed afterwards, for the others read vectors as Django does.
    own.ensure_connection()
    register_vector(own.connection)
    with own.cursor() as cursor:
        types = _types(cursor, _EMBEDDINGS, columns)
        for first in range(0, library.number, data.CHUNK):
            image, caption = (v[first : first + data.CHUNK] for v in (library.image, library.caption))
            rows = (
                (generation.pk, place + 1, HalfVector(image[at]), HalfVector(caption[at]) if captioned[place] else None)
                for at, place in enumerate(range(first, first + len(image)))
            )
            _copy(cursor, f"{_EMBEDDINGS} ({', '.join(columns)})", types, rows)
    own.close()


def settle() -> None:
    """Leave the tables as a server has them that runs for long: counted, vacuumed and on disk."""
    with connection.cursor() as cursor:
        cursor.execute("VACUUM (ANALYZE)")
        cursor.execute("CHECKPOINT")


def texts_are_current() -> bool:
    """Does the app still make the text vectors that the library has?"""
    with connection.cursor() as cursor:
        for asset in Asset.objects.order_by("pk")[:_SAMPLE]:
            asset.prepare()
            made = asset.text_vector
            assert isinstance(made, RawSQL)
            cursor.execute(f"SELECT text_vector = {made.sql} FROM {_ASSETS} WHERE id = %s", [*made.params, asset.pk])
            if not cursor.fetchone()[0]:
                return False
    return True


def _make_users() -> list[int]:
    groups = Group.objects.bulk_create(Group(name=f"group {number}") for number in range(GROUPS))
    users = User.objects.bulk_create(User(username=f"user {number}") for number in range(USERS))
    for number, group in enumerate(groups):
        group.user_set.set(users[number::GROUPS])
    return [user.pk for user in users]


def _assets(library: Library, users: Sequence[int]) -> Iterator[Asset]:
    columns, now = library.columns, datetime.now(UTC)
    owner = columns.owner(len(users))
    for place, texts in enumerate(library.writer.write()):
        asset = Asset(
            pk=place + 1,
            file=f"{place + 1}.jpg",
            title=texts.title,
            caption=texts.caption,
            tags=list(texts.tags),
            ocr_text=texts.ocr_text,
            category=category(int(columns.category[place])),
            language="en",
            owner_id=users[owner[place] - 1] if owner[place] else None,
            is_public=bool(columns.public[place]),
            created_at=moment(int(columns.added[place]), library.number),
            taken_at=moment(int(columns.taken[place]), library.number),
            modified_at=now,
            width=1_600,
            height=1_200,
            mime_type="image/jpeg",
            byte_size=int(columns.size[place]),
        )
        asset.prepare()
        yield asset


def category(number: int) -> str:
    return f"category {number:02}"


def _stored(field: models.Field[Any, Any], asset: Asset) -> Any:
    return field.get_db_prep_save(getattr(asset, field.attname), connection)


def _numbered(sql: str) -> str:
    """The expression of a text vector, over the column `parts` instead of parameters."""
    pieces = sql.split("%s")
    return pieces[0] + "".join(f"parts[{number}]{piece}" for number, piece in enumerate(pieces[1:], start=1))


def _types(cursor: Any, table: str, columns: Sequence[str]) -> list[int]:
    cursor.execute("SELECT attname, atttypid FROM pg_attribute WHERE attrelid = %s::regclass", [table])
    known = dict(cursor.fetchall())
    return [known[column] for column in columns]


def _copy(cursor: Any, target: str, types: Sequence[int | str], rows: Iterable[tuple[Any, ...]]) -> None:
    with cursor.copy(f"COPY {target} FROM STDIN (FORMAT BINARY)") as copy:
        copy.set_types(types)
        for row in rows:
            copy.write_row(row)
