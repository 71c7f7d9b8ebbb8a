"""What follows from the stored row of an asset: its text vector, and the keys of what it is owed.

Always from the row as it is stored, and never from an object in memory, which may be old.
Made for many assets at once: text vectors are stored by one statement for each thousand.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from django.db import connections

from mediasearch import fulltext
from mediasearch.features import titles
from mediasearch.fulltext import Document

LIBRARY = "library"
"""The source of pictures that mediasearch keeps itself."""
TEXT_WEIGHTS = {"title": "A", "alt_text": "B", "tags": "B", "category": "B", "caption": "B", "ocr_text": "C"}
"""Each text that can be searched, with its weight in `text_vector`."""
DESCRIPTION = ("title", "alt_text", "caption")
"""What people, or a captioner, say of the picture: its caption vector is made of these."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """The columns of an asset that its text vector and its jobs follow from."""

    pk: int | None
    title: str
    alt_text: str
    tags: Sequence[str]
    category: str
    caption: str
    ocr_text: str
    language: str
    source: str
    file: str
    file_version: str

    @property
    def description(self) -> str:
        """What is said of the picture, line by line, each once."""
        said = (titles.words(self.title), self.alt_text.strip(), self.caption.strip())
        return "\n".join(dict.fromkeys(line for line in said if line))

    @property
    def version(self) -> str:
        """What changes when the file does.

        Of the library's files the content, as it was when it was stored under this name. Where nobody saw it stored,
        or that was before contents were looked at, it is the name.
        """
        if self.source != LIBRARY or not self.file:
            return self.file_version
        return self.file_version if self.file_version.endswith(_seal(self.file)) else self.file

    @property
    def document(self) -> Document:
        """The texts as they are searched."""
        parts = [(self._text(name), weight) for name, weight in TEXT_WEIGHTS.items()]
        return fulltext.document(parts, self.language)

    def _text(self, name: str) -> str:
        value = getattr(self, name)
        return value if isinstance(value, str) else "\n".join(value)

    def key(self, stage: str) -> str:
        """Return a name for what a stage reads, and for its version; while it is the same, there is nothing to do."""
        from mediasearch.models import STAGE_VERSIONS, Stage

        read = self.description if stage == Stage.EMBED_CAPTION else self.version
        version = STAGE_VERSIONS[Stage(stage)]
        made_of = read if version == 1 else f"{version}\n{read}"
        return hashlib.sha256(made_of.encode()).hexdigest()[:32] if read else ""


def file_version(digest: str, name: str) -> str:
    """Return the version of a file of this sha256 that was stored under a name, good for that name alone."""
    return digest + _seal(name)


def _seal(name: str) -> str:
    return "@" + hashlib.sha256(name.encode()).hexdigest()[:16]


def rewrite(rows: Sequence[Inputs], using: str, columns: Mapping[str, Any] | None = None) -> int:
    """Store text vector, file version and the current `derived_version` of assets; return how many were written.

    `columns` are stored in all of them as well, in the same statement: a second one would cost as much again. Without
    them, rows in which nothing differs are not written. The caller's transaction holds their locks.
    """
    documents = sorted(((row.document, row) for row in rows), key=lambda pair: pair[0].configs)
    groups = groupby(documents, key=lambda pair: pair[0].configs)
    return sum(_rewrite(list(group), configs, using, columns or {}) for configs, group in groups)


def _rewrite(
    documents: Sequence[tuple[Document, Inputs]], configs: Sequence[str], using: str, others: Mapping[str, Any]
) -> int:
    """Store those whose words the same dictionaries stem."""
    from mediasearch.models import Asset, current_version

    weights = list(TEXT_WEIGHTS.values())
    columns = [f"words_{number}" for number in range(len(weights))]
    vector, vector_params = fulltext.vector_sql("entries", configs, list(zip(columns, weights, strict=True)))
    arrays = ", ".join(["%s::bigint[]", "%s::text[]", "%s::text[]", *["%s::text[]"] * len(columns)])
    with connections[using].cursor() as cursor:
        cursor.execute(
            f"""
            WITH made AS MATERIALIZED (
                SELECT id, version, {vector} AS vector
                FROM unnest({arrays}) AS one (id, version, entries, {", ".join(columns)})
            )
            UPDATE {Asset._meta.db_table} AS asset
            SET text_vector = vector, file_version = version, derived_version = %s
                {"".join(f", {name} = %s" for name in others)}
            FROM made
            WHERE asset.id = made.id AND (%s OR text_vector IS DISTINCT FROM vector OR file_version <> version
                                          OR derived_version <> %s)
            """,
            [
                *vector_params,
                [row.pk for _, row in documents],
                [row.version for _, row in documents],
                [document.entries for document, _ in documents],
                *([document.stemmed[number][1] for document, _ in documents] for number in range(len(columns))),
                current_version(),
                *others.values(),
                bool(others),
                current_version(),
            ],
        )
        return int(cursor.rowcount)
