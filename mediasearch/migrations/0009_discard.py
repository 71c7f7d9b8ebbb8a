from django.db import migrations, models

# Whichever way a row is written, by Django or beside it: what it lets go of is written down in the same transaction, and
# what it takes is crossed out. A name that was somebody else's before is locked as well, for another row may be letting
# go of it at this moment. `indexing.discards` does the rest, and has the lock's keys, too.
TRIGGERS = """
CREATE FUNCTION mediasearch_note_files() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    held text[] := '{}';
    taken text[] := '{}';
    fresh text[];
BEGIN
    IF TG_OP <> 'INSERT' THEN  -- Files of other sources are those sources' own.
        held := array_remove(ARRAY[CASE WHEN OLD.source = 'library' THEN OLD.file END, OLD.thumbnail], NULL);
    END IF;
    IF TG_OP <> 'DELETE' THEN
        taken := ARRAY[NEW.file, NEW.thumbnail];
    END IF;
    INSERT INTO mediasearch_discard (name, due_at)
    SELECT name, clock_timestamp() FROM unnest(held) AS name WHERE name <> '' AND name <> ALL (taken);
    WITH crossed_out AS (
        DELETE FROM mediasearch_discard WHERE id IN (
            SELECT id FROM mediasearch_discard WHERE name = ANY (taken) AND name <> ALL (held) FOR UPDATE SKIP LOCKED)
        RETURNING name, due_at)
    SELECT coalesce(array_agg(name), '{}') INTO fresh  -- Promised a day ahead, and so stored for this row alone.
    FROM crossed_out WHERE due_at > clock_timestamp() + interval '1 hour';
    PERFORM pg_advisory_xact_lock_shared(1835361382, bucket)
    FROM (SELECT DISTINCT hashtext(name) & 63 AS bucket FROM unnest(taken) AS name
          WHERE name <> '' AND name <> ALL (held) AND name <> ALL (fresh) ORDER BY 1) AS buckets;
    RETURN NULL;
END $$;

CREATE TRIGGER mediasearch_note_files AFTER INSERT OR DELETE ON mediasearch_asset
FOR EACH ROW EXECUTE FUNCTION mediasearch_note_files();

CREATE TRIGGER mediasearch_note_changed_files AFTER UPDATE OF file, thumbnail ON mediasearch_asset
FOR EACH ROW WHEN (OLD.file <> NEW.file OR OLD.thumbnail <> NEW.thumbnail)
EXECUTE FUNCTION mediasearch_note_files();
"""


class Migration(migrations.Migration):
    dependencies = [("mediasearch", "0008_machine_columns")]

    operations = [
        migrations.CreateModel(
            name="Discard",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=255)),
                ("due_at", models.DateTimeField()),
            ],
            options={
                "indexes": [
                    models.Index(fields=["name"], name="mediasearch_discard_name"),
                    models.Index(fields=["due_at", "id"], name="mediasearch_discard_due"),
                ],
            },
        ),
        migrations.RunSQL(
            TRIGGERS,
            "DROP TRIGGER mediasearch_note_changed_files ON mediasearch_asset;"
            " DROP TRIGGER mediasearch_note_files ON mediasearch_asset; DROP FUNCTION mediasearch_note_files();",
        ),
    ]
