from django.db import migrations
import pgvector.django.halfvec

# Captions that another encoder reads than pictures were compared with no picture so far: those of generations made
# before are owed once more, at low priority. Of a pruned job the asset still knows what it had read; what is retired
# forgets it, and makes the vectors when it is gone back to.
FOREIGN = "SELECT id FROM mediasearch_generation WHERE caption_encoder IS NOT NULL AND state {} 'retired'"


class Migration(migrations.Migration):

    dependencies = [
        ('mediasearch', '0004_pruning'),
    ]

    operations = [
        migrations.AddField(
            model_name='embedding',
            name='image_caption',
            field=pgvector.django.halfvec.HalfVectorField(null=True),
        ),
        migrations.RunSQL(
            sql="""
                ALTER TABLE mediasearch_embedding ALTER COLUMN image_caption SET STORAGE MAIN;
                ALTER TABLE mediasearch_embedding ADD CONSTRAINT mediasearch_unit_image_caption
                    CHECK (l2_norm(image_caption) BETWEEN 0.99 AND 1.01);
            """,
            reverse_sql=migrations.RunSQL.noop,
        ),
        migrations.RunSQL(
            sql=f"""
                UPDATE mediasearch_job
                SET state = 'pending', priority = 10, attempts = 0, suspect = false, error = '', due_at = now(),
                    token = NULL, lease_until = NULL, finished_at = NULL
                WHERE stage = 'embed_caption' AND input_key <> '' AND state IN ('done', 'running')
                      AND generation_id IN ({FOREIGN.format('<>')});
                INSERT INTO mediasearch_job (asset_id, stage, generation_id, input_key, state, priority, attempts,
                                             suspect, error, due_at, created_at)
                SELECT asset.id, 'embed_caption', made.id, settled ->> ('embed_caption:' || made.id), 'pending', 10, 0,
                       false, '', now(), now()
                FROM ({FOREIGN.format('<>')}) AS made, mediasearch_asset AS asset
                WHERE settled ->> ('embed_caption:' || made.id) <> ''
                ON CONFLICT DO NOTHING;
                DELETE FROM mediasearch_job
                WHERE stage = 'embed_caption' AND generation_id IN ({FOREIGN.format('=')});
                UPDATE mediasearch_asset SET settled = settled - made.keys
                FROM (SELECT array_agg('embed_caption:' || id) AS keys FROM ({FOREIGN.format('=')}) AS retired) AS made
                WHERE settled ?| made.keys;
            """,
            reverse_sql=migrations.RunSQL.noop,
        ),
    ]
