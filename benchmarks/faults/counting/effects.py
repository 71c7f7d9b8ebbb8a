"""A table that PostgreSQL itself fills: one row for each effect that was committed."""

from __future__ import annotations

from collections import Counter
from typing import Any

from django.db import connection

_TABLE = """
CREATE TABLE IF NOT EXISTS faults_effect (
    id bigserial PRIMARY KEY, what text, asset bigint, stage text, generation bigint, input_key text
);
CREATE OR REPLACE FUNCTION faults_job() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO faults_effect (what, asset, stage, generation, input_key)
    VALUES ('job', NEW.asset_id, NEW.stage, NEW.generation_id, NEW.input_key);
    RETURN NULL;
END $$;
CREATE OR REPLACE FUNCTION faults_write() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    -- The job whose result is written is closed in the same transaction, and still bears its key.
    INSERT INTO faults_effect (what, asset, stage, generation, input_key)
    SELECT 'write', job.asset_id, job.stage, job.generation_id, job.input_key FROM mediasearch_job AS job
    WHERE job.stage = TG_ARGV[0] AND job.asset_id = (to_jsonb(NEW) ->> TG_ARGV[1])::bigint
      AND job.generation_id IS NOT DISTINCT FROM (to_jsonb(NEW) ->> 'generation_id')::bigint;
    RETURN NULL;
END $$;
"""
_TRIGGERS = {
    "faults_job": (
        "AFTER UPDATE OF state ON mediasearch_job FOR EACH ROW"
        " WHEN (NEW.state = 'done' AND OLD.state <> 'done') EXECUTE FUNCTION faults_job()"
    ),
    "faults_inspect": (
        "AFTER UPDATE OF perceptual_hash ON mediasearch_asset FOR EACH ROW"
        " EXECUTE FUNCTION faults_write('inspect', 'id')"
    ),
    "faults_read": (
        "AFTER UPDATE OF ocr_words ON mediasearch_asset FOR EACH ROW EXECUTE FUNCTION faults_write('read', 'id')"
    ),
    "faults_image": (
        "AFTER INSERT OR UPDATE OF image ON mediasearch_embedding FOR EACH ROW"
        " WHEN (NEW.image IS NOT NULL) EXECUTE FUNCTION faults_write('embed_image', 'asset_id')"
    ),
}


def install() -> None:
    """Make the table and the triggers that fill it; what was counted before is forgotten."""
    tables = {"faults_job": "mediasearch_job", "faults_image": "mediasearch_embedding"}
    with connection.cursor() as cursor:
        cursor.execute(_TABLE)
        for name, rest in _TRIGGERS.items():
            cursor.execute(f"DROP TRIGGER IF EXISTS {name} ON {tables.get(name, 'mediasearch_asset')}")
            cursor.execute(f"CREATE TRIGGER {name} {rest}")
        cursor.execute("TRUNCATE faults_effect")


def repeated() -> list[tuple[Any, ...]]:
    """Return the effects that were committed more than once: (what, asset, stage, generation, input key, times)."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT what, asset, stage, generation, input_key, count(*) FROM faults_effect"
            " GROUP BY 1, 2, 3, 4, 5 HAVING count(*) > 1 ORDER BY 2"
        )
        return cursor.fetchall()


def counted() -> Counter[tuple[str, str]]:
    """Return how many different effects there were by what and stage."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT what, stage, count(DISTINCT (asset, generation, input_key)) FROM faults_effect GROUP BY 1, 2"
        )
        return Counter({(what, stage): number for what, stage, number in cursor.fetchall()})
