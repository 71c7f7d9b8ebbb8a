"""Many vectors at once, written by SQL alone."""

from __future__ import annotations

from django.db import connection

from mediasearch.models import Generation


def fill(generation: Generation, number: int) -> None:
    """Give a generation random vectors of unit length, in each of its fields, for as many new assets."""
    vectors = ", ".join(
        f"l2_normalize((SELECT array_agg(random()::real - 0.5) FROM generate_series(1, {size}) WHERE new.id > 0)"
        "::halfvec)"
        for size in generation.widths.values()
    )
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            WITH new AS (
                INSERT INTO mediasearch_asset (source, file, file_version, title, alt_text, caption, caption_source,
                    category, tags, language, copyright, is_public, created_at, modified_at, mime_type, content_hash,
                    thumbnail, ocr_text, ocr_words, settled)
                SELECT 'library', '', 'file-' || i, '', '', '', '', '', '{{}}', '', '', true, now(), now(), '',
                       md5(i::text), '', '', '[]', '{{}}' FROM generate_series(1, %s) AS i RETURNING id)
            INSERT INTO mediasearch_embedding (generation_id, asset_id, {", ".join(generation.widths)})
            SELECT %s, id, {vectors} FROM new
            """,
            [number, generation.pk],
        )
