"""What is derived from the texts of stored rows: text vectors, made for many assets by one statement.

Always from the row as it is stored, and never from an object in memory, which may be old.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from django.db import connections

from mediasearch import fulltext
from mediasearch.fulltext import Document

if TYPE_CHECKING:
    from mediasearch.models import Asset


def rewrite(assets: Sequence[Asset], using: str) -> None:
    """Store text vector, file version and the current `derived_version` of assets that were just read.

    Rows in which nothing differs are not written. The caller's transaction holds their locks.
    """
    documents = sorted(((asset.document(), asset) for asset in assets), key=lambda pair: pair[0].configs)
    for configs, group in groupby(documents, key=lambda pair: pair[0].configs):
        _rewrite(list(group), configs, using)


def _rewrite(documents: Sequence[tuple[Document, Asset]], configs: Sequence[str], using: str) -> None:
    """Store those whose words the same dictionaries stem."""
    from mediasearch.models import LIBRARY, Asset, current_version

    weights = [weight for weight, _ in documents[0][0].stemmed]
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
            FROM made
            WHERE asset.id = made.id AND (text_vector IS DISTINCT FROM vector OR file_version <> version
                                          OR derived_version <> %s)
            """,
            [
                *vector_params,
                [asset.pk for _, asset in documents],
                [
                    str(asset.file.name) if asset.source == LIBRARY and asset.file else asset.file_version
                    for _, asset in documents
                ],
                [document.entries for document, _ in documents],
                *([document.stemmed[number][1] for document, _ in documents] for number in range(len(columns))),
                current_version(),
                current_version(),
            ],
        )
