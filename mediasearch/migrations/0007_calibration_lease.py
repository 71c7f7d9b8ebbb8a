from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("mediasearch", "0006_engine")]

    operations = [
        migrations.RemoveField(model_name="generation", name="calibrating_since"),
        migrations.AddField(
            model_name="generation",
            name="calibrating_until",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="generation",
            name="calibration_token",
            field=models.UUIDField(blank=True, null=True),
        ),
    ]
