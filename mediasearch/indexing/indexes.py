"""The HNSW indexes that generations should have, and those that are there.

Each generation has one for each vector field, partial and over a cast: so any encoder fits, two generations live side
by side, and a query can't mix them. `construction` makes them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from django.contrib.postgres.indexes import GinIndex
from django.db import connections, router

from mediasearch.models import Asset, Embedding, Generation

M, EF_CONSTRUCTION = 16, 128
FIELDS = ("image", "caption", "image_caption")
BESIDE, BEFORE = "_ccnew", "_ccold"
"""What PostgreSQL appends to the name of an index that it rebuilds CONCURRENTLY, and of the one that this replaces."""
_LEFT_OVER = re.compile(rf"({BESIDE}|{BEFORE})\d*$")
_PAGE, _PAGE_HEAD = 8_192, 32
_LINK, _ELEMENT_HEAD, _GRAPH_NODE = 6, 80, 720


@dataclass(frozen=True, slots=True)
class Index:
    """One index as it should be."""

    generation: int
    field: str
    dimensions: int

    @property
    def name(self) -> str:
        return f"mediasearch_hnsw_{self.generation}_{self.field}"

    def definition(self, suffix: str = "") -> str:
        """The statement that makes it."""
        # Integers, not parameters: a planner that sees `$1` can't prove that the partial index applies.
        return (
            f"CREATE INDEX CONCURRENTLY IF NOT EXISTS {self.name}{suffix} ON {Embedding._meta.db_table}"
            f" USING hnsw (({self.field}::halfvec({self.dimensions})) halfvec_ip_ops)"
            f" WITH (m = {M}, ef_construction = {EF_CONSTRUCTION}) WHERE generation_id = {self.generation}"
        )

    def memory(self, rows: int) -> int:
        """Bytes that the graph of so many vectors takes while it is built: 2 for each number, and its links."""
        return rows * (2 * self.dimensions + _GRAPH_NODE) * 11 // 10

    def size(self, rows: int) -> int:
        """Bytes that a fresh index of so many different vectors takes on disk: whole nodes on pages of 8 kB."""
        links = 2 * M * _LINK + 4 + M * _LINK / (M - 1)
        node = _ELEMENT_HEAD + 2 * self.dimensions + links + 8
        return _PAGE * (1 + -(-rows // max(1, int((_PAGE - _PAGE_HEAD) / node))))


@dataclass(frozen=True, slots=True)
class Found:
    """One index that is there."""

    name: str
    size: int
    valid: bool
    in_progress: bool
    """Is somebody building it at this moment?"""
    parameters: tuple[str, ...]
    """Method, operator class, expression, predicate and options, each in PostgreSQL's words."""

    @property
    def left_over(self) -> bool:
        """Did a rebuild that was broken off leave it?"""
        return _LEFT_OVER.search(self.name) is not None

    def belongs_to(self, name: str) -> bool:
        """Is it the index of this name, or one that was built beside it?"""
        return _LEFT_OVER.sub("", self.name) == name

    def differs_from(self, index: Index) -> bool:
        """Was it built with other parameters than it should have been?"""
        return self.parameters != (
            "hnsw", "halfvec_ip_ops", f"{index.field}::halfvec({index.dimensions})",
            f"generation_id={index.generation}", f"ef_construction={EF_CONSTRUCTION}", f"m={M}",
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Flaw:
    """An index that is not as it should be."""

    name: str
    sentence: str
    generation: int | None = None
    """Whose searches suffer; None where it costs disk and writing alone."""


def wanted(generation: Generation) -> tuple[Index, ...]:
    """The indexes that a generation should have."""
    return tuple(Index(generation.pk, field, dimensions) for field, dimensions in generation.widths.items())


def text_indexes() -> list[str]:
    """The names of the GIN indexes over texts and tags, which Django makes."""
    return [index.name for index in Asset._meta.indexes if isinstance(index, GinIndex)]


def found() -> dict[str, Found]:
    """The HNSW indexes, the GIN indexes over texts, and what rebuilding any of them left: one statement."""
    with connections[router.db_for_write(Embedding)].cursor() as cursor:
        cursor.execute(
            r"""
            SELECT relname, pg_relation_size(indexrelid), indisvalid AND indisready,
                   EXISTS (SELECT 1 FROM pg_stat_progress_create_index AS building
                           WHERE datname = current_database() AND building.relid = indrelid
                             AND (index_relid = indexrelid OR command = 'REINDEX CONCURRENTLY')),
                   amname, opcname, pg_get_expr(indexprs, indrelid), pg_get_expr(indpred, indrelid), reloptions
            FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid JOIN pg_am ON pg_am.oid = relam
                 JOIN pg_opclass ON pg_opclass.oid = indclass[0]
            WHERE indrelid IN (to_regclass(%s), to_regclass(%s)) AND relname ~ %s
            ORDER BY relname
            """,
            [
                Embedding._meta.db_table,
                Asset._meta.db_table,
                rf"^(mediasearch_hnsw_\d+_({'|'.join(FIELDS)})|{'|'.join(text_indexes())})(_cc(new|old)\d*)?$",
            ],
        )
        rows = cursor.fetchall()
    return {
        name: Found(
            name, size, valid, in_progress,
            (method, opclass, _plain(expression), _plain(predicate), *sorted(options or ())),
        )
        for name, size, valid, in_progress, method, opclass, expression, predicate, options in rows
    }  # fmt: skip


def _plain(expression: str | None) -> str:
    """An expression without brackets around names, spaces, and the schema of a type."""
    text = re.sub(r"\((\w+)\)::", r"\1::", expression or "")
    text = re.sub(r"::(\w+\.)?(\"?\w+\"?)\(", r"::\2(", text)
    return re.sub(r"^\((.*)\)$", r"\1", text).replace(" ", "")


def flaws(generations: Iterable[Generation], there: Mapping[str, Found]) -> Iterator[Flaw]:
    """What is not as it should be with the indexes of living generations, and what rebuilding any index left.

    What is being built is well, and a building generation gets its indexes at its end.
    """
    for generation in generations:
        for index in wanted(generation):
            if wrong := _wrong(index, there.get(index.name), generation.state == Generation.State.ACTIVE):
                sentence = f"The index {index.name} of the {generation.state} generation {generation.pk} {wrong}."
                yield Flaw(index.name, sentence, generation.pk)
    for one in there.values():
        if one.left_over and not one.in_progress:
            yield Flaw(one.name, f"The index {one.name} was left by a rebuild that was broken off; it slows writing.")


def _wrong(index: Index, there: Found | None, needed: bool) -> str:
    if there is None:
        return "is missing" if needed else ""
    if there.in_progress:
        return ""
    if not there.valid:
        return "is invalid: its building was broken off"
    return "was built with other parameters than it should have been" if there.differs_from(index) else ""
