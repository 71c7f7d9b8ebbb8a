from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False  # The table stays writable, however large it is.
    dependencies = [("mediasearch", "0009_discard")]

    operations = [
        AddIndexConcurrently(
            "asset",
            models.Index(fields=["file"], condition=~models.Q(file=""), name="mediasearch_asset_file"),
        ),
        AddIndexConcurrently(
            "asset",
            models.Index(fields=["thumbnail"], condition=~models.Q(thumbnail=""), name="mediasearch_asset_thumbnail"),
        ),
    ]
