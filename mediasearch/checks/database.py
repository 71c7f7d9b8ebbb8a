"""What is wrong with the database, its extension, and the vectors and indexes in it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.db import connections, router
from django.db.utils import OperationalError, ProgrammingError

from mediasearch import conf
from mediasearch.exceptions import ImproperlySet
from mediasearch.indexing import indexes
from mediasearch.models import Embedding, Generation

POSTGRESQL, PGVECTOR = 140_000, (0, 8, 4)


@register(Tags.database)
def check_database(app_configs: Sequence[Any] | None, databases: Sequence[str] | None, **_: Any) -> list[CheckMessage]:
    """E004: not PostgreSQL, or too old; E005: pgvector is absent, or too old; E008: it is out of sight."""
    using = router.db_for_write(Embedding)
    if using not in (databases or ()):
        return []
    connection = connections[using]
    if connection.vendor != "postgresql":
        hint = 'Set DATABASES["default"] to PostgreSQL 14 or newer with the pgvector extension.'
        return [Error(f"mediasearch needs PostgreSQL, not {connection.vendor}.", hint=hint, id="mediasearch.E004")]
    try:
        with connection.cursor() as cursor:
            return [*_check_postgresql(cursor), *_check_pgvector(cursor)]
    except OperationalError as error:
        hint = f'Start it, or correct DATABASES["{using}"].'
        reason = str(error).strip().splitlines()[0]
        return [Error(f"The database can't be reached: {reason}", hint=hint, id="mediasearch.E007")]


def _check_postgresql(cursor: Any) -> Iterable[CheckMessage]:
    cursor.execute("SELECT current_setting('server_version_num')::int, current_setting('server_version')")
    number, version = cursor.fetchone()
    if number < POSTGRESQL:
        hint = "Upgrade the server to PostgreSQL 14 or newer."
        yield Error(f"PostgreSQL {version} is too old for mediasearch.", hint=hint, id="mediasearch.E004")


def _check_pgvector(cursor: Any) -> Iterable[CheckMessage]:
    needed = ".".join(map(str, PGVECTOR))
    cursor.execute("SELECT extversion FROM pg_extension WHERE extname = 'vector'")
    if installed := cursor.fetchone():
        if _version(installed[0]) < PGVECTOR:
            yield Error(
                f"pgvector {installed[0]} is too old: indexes of versions before {needed} can lose rows.",
                hint=f"Install pgvector {needed} or newer on the server, then run: ALTER EXTENSION vector UPDATE;",
                id="mediasearch.E005",
            )
        else:
            yield from _check_search_path(cursor)
        return
    cursor.execute(
        "SELECT version, trusted, (SELECT rolsuper FROM pg_roles WHERE rolname = current_user),"
        " has_database_privilege(current_database(), 'CREATE')"
        " FROM pg_available_extension_versions WHERE name = 'vector'"
    )
    offered = cursor.fetchall()
    if not offered:
        yield Error(
            "The server has no pgvector extension.",
            hint=f"Install pgvector {needed} or newer on it (Debian: postgresql-NN-pgvector of the PGDG packages).",
            id="mediasearch.E005",
        )
    elif not any(superuser or (trusted and may_create) for _, trusted, superuser, may_create in offered):
        yield Error(
            "The pgvector extension is not in this database, and the role of the site may not create it.",
            hint="Ask a superuser to run in this database: CREATE EXTENSION vector;",
            id="mediasearch.E005",
        )
    elif max(_version(version) for version, *_ in offered) < PGVECTOR:
        yield Error(
            f"The server offers only pgvector {max(offered, key=lambda row: _version(row[0]))[0]}.",
            hint=f"Install pgvector {needed} or newer on it.",
            id="mediasearch.E005",
        )


def _check_search_path(cursor: Any) -> Iterable[CheckMessage]:
    """E008: the schema that holds pgvector's types is not on the search_path, so that none of them has a name."""
    cursor.execute(
        "SELECT quote_ident(nspname), quote_ident(current_user), quote_ident(current_database()),"
        " current_setting('search_path'), has_schema_privilege(nspname, 'USAGE')"
        " FROM pg_extension JOIN pg_namespace ON pg_namespace.oid = extnamespace"
        " WHERE extname = 'vector' AND to_regtype('halfvec') IS NULL"
    )
    if (row := cursor.fetchone()) is None:
        return
    schema, role, database, path, usable = row
    if not usable:
        said = f"pgvector is in the schema {schema}, which the role {role} may not use."
        hint = f"Ask its owner to run: GRANT USAGE ON SCHEMA {schema} TO {role};"
        yield Error(said, hint=hint, id="mediasearch.E008")
        return
    wider = ", ".join(filter(None, [path, schema]))
    yield Error(
        f"pgvector is in the schema {schema}, which is not on the search_path ({path}): its types have no name there.",
        hint=f"Run: ALTER ROLE {role} IN DATABASE {database} SET search_path = {wider}; and connect anew. Or give"
        f' DATABASES["{cursor.db.alias}"]["OPTIONS"] an "options": "-c search_path={wider.replace(" ", "")}".',
        id="mediasearch.E008",
    )


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".") if part.isdigit())


@register(Tags.database)
def check_generation(
    app_configs: Sequence[Any] | None, databases: Sequence[str] | None, **_: Any
) -> list[CheckMessage]:
    """W005: the settings name another encoder than the one that made the active vectors."""
    using = router.db_for_read(Generation)
    try:
        if not _is_migrated(using, databases):
            return []
        active = Generation.objects.using(using).active()
        wanted = conf.settings()
    except (OperationalError, ProgrammingError, ImproperlySet):
        return []  # Another check says so; or `migrate`, which checks first, is about to make the columns.
    caption = wanted.caption_encoder.as_dict() if wanted.caption_encoder else None
    if active is None or (active.encoder, active.caption_encoder) == (wanted.encoder.as_dict(), caption):
        return []
    return [
        Warning(
            f"The settings name another encoder than the one that made the active vectors ({active.fingerprint}).",
            hint="Run `manage.py mediasearch_reindex` to change over, or put the old setting back.",
            id="mediasearch.W005",
        )
    ]


@register(Tags.database)
def check_indexes(app_configs: Sequence[Any] | None, databases: Sequence[str] | None, **_: Any) -> list[CheckMessage]:
    """W009: an HNSW index is missing, invalid, of another make, or was left by a rebuild that was broken off."""
    using = router.db_for_write(Generation)
    try:
        if not _is_migrated(using, databases):
            return []
        flaws = list(indexes.flaws(Generation.objects.using(using).living(), indexes.found()))
    except (OperationalError, ProgrammingError):
        return []
    hint = "Run `manage.py mediasearch_indexes --repair`; searches and uploads go on meanwhile."
    return [Warning(flaw.sentence, hint=hint, id="mediasearch.W009") for flaw in flaws]


@register(Tags.database)
def check_recall(app_configs: Sequence[Any] | None, databases: Sequence[str] | None, **_: Any) -> list[CheckMessage]:
    """W010: the index of the active generation finds less than RECALL_TARGET, however widely it searches."""
    using = router.db_for_read(Generation)
    try:
        active = Generation.objects.using(using).active() if _is_migrated(using, databases) else None
        target = conf.settings().recall_target
    except (OperationalError, ProgrammingError, ImproperlySet):
        return []
    recall = active.calibration.get("recall") if active else None
    if recall is None or recall >= target:
        return []
    hint = "Run `manage.py mediasearch_indexes --rebuild`, then `manage.py mediasearch_calibrate`; or lower the target."
    said = (
        f"The index of the active generation finds {recall:.1%} of the nearest pictures; RECALL_TARGET is {target:.1%}."
    )
    return [Warning(said, hint=hint, id="mediasearch.W010")]


def _is_migrated(using: str, databases: Sequence[str] | None) -> bool:
    """Is this database asked about, and has it the tables?"""
    if using not in (databases or ()) or connections[using].vendor != "postgresql":
        return False
    return Embedding._meta.db_table in connections[using].introspection.table_names()
