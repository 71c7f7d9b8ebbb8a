from django.contrib.postgres.indexes import HashIndex
from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False  # The table stays writable, however large it is.
    dependencies = [("mediasearch", "0009_discard")]

    operations = [
        AddIndexConcurrently(
            "asset",
            HashIndex(fields=["file"], condition=~models.Q(file=""), name="mediasearch_asset_file"),
        ),
        AddIndexConcurrently(
            "asset",
            HashIndex(fields=["thumbnail"], condition=~models.Q(thumbnail=""), name="mediasearch_asset_thumbnail"),
        ),
    ]
