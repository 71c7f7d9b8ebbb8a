from django.db import migrations


class Migration(migrations.Migration):

    dependencies = [
        ('mediasearch', '0010_file_indexes'),
    ]

    operations = [
        migrations.AlterModelOptions(
            name='asset',
            options={
                'ordering': ['-created_at', '-id'],
                'permissions': [('download_untouched', 'Can download files with all their metadata: place, device, owner')],
                'verbose_name': 'image',
                'verbose_name_plural': 'images',
            },
        ),
    ]
