from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("mediasearch", "0005_image_caption")]

    operations = [
        migrations.AddField(
            model_name="asset",
            name="popularity",
            field=models.PositiveIntegerField(db_default=0, default=0, editable=False, verbose_name="popularity"),
        ),
        migrations.AddField(
            model_name="generation",
            name="calibrating_since",
            field=models.DateTimeField(blank=True, null=True),
        ),
    ]
