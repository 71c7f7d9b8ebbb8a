from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('mediasearch', '0003_input_size'),
    ]

    operations = [
        migrations.AlterField(
            model_name='asset',
            name='settled',
            field=models.JSONField(blank=True, default=dict, editable=False),
        ),
        # A job's row dies two or three times in its life: state, lease and end are in indexes or their predicates, so
        # no update of it is a HOT one and a fill factor would gain nothing. What helps is to vacuum early: claims look
        # for due jobs from the front of an index, where the dead ones are. Statistics of states age as quickly.
        migrations.RunSQL(
            sql="""
                ALTER TABLE mediasearch_job SET (
                    autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000,
                    autovacuum_analyze_scale_factor = 0.02, autovacuum_analyze_threshold = 1000
                );
            """,
            reverse_sql="""
                ALTER TABLE mediasearch_job RESET (
                    autovacuum_vacuum_scale_factor, autovacuum_vacuum_threshold,
                    autovacuum_analyze_scale_factor, autovacuum_analyze_threshold
                );
            """,
        ),
        # Rows of before: what has no time would never be pruned, or be taken for what is being deleted.
        migrations.RunSQL(
            sql="""
                UPDATE mediasearch_job SET finished_at = created_at
                WHERE state IN ('done', 'skipped') AND finished_at IS NULL;
                UPDATE mediasearch_generation SET retired_at = now() WHERE state = 'retired' AND retired_at IS NULL;
            """,
            reverse_sql=migrations.RunSQL.noop,
        ),
    ]
