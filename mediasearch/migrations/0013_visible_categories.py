from django.conf import settings
from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):

    #: Uploads go on while PostgreSQL reads the rows that there are.
    atomic = False

    dependencies = [
        ('mediasearch', '0012_stray'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        AddIndexConcurrently(
            model_name='asset',
            index=models.Index(condition=models.Q(('is_public', True)), fields=['source', 'category'], name='mediasearch_asset_public'),
        ),
        AddIndexConcurrently(
            model_name='asset',
            index=models.Index(condition=models.Q(('owner__isnull', False)), fields=['owner', 'category'], name='mediasearch_asset_owned'),
        ),
        # The index above begins with the owner, too.
        migrations.AlterField(
            model_name='asset',
            name='owner',
            field=models.ForeignKey(blank=True, db_index=False, null=True, on_delete=models.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL, verbose_name='owner'),
        ),
    ]
