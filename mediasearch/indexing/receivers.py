"""What follows from saving and deleting an asset, in the same transaction."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.db.models.signals import post_delete, post_save, pre_delete

from mediasearch.indexing import doorbell
from mediasearch.models import LIBRARY, Asset, Job, storage


def connect() -> None:
    """Start to listen."""
    post_save.connect(saved, sender=Asset, dispatch_uid="mediasearch.saved")
    pre_delete.connect(about_to_delete, sender=Asset, dispatch_uid="mediasearch.about_to_delete")
    post_delete.connect(deleted, sender=Asset, dispatch_uid="mediasearch.deleted")


def saved(sender: type[Asset], instance: Asset, raw: bool, using: str, **_: Any) -> None:
    """Owe the asset whatever its change calls for, and ring when that is committed."""
    if not raw:
        owed = Job.objects.using(using).owe([instance], priority=instance.owed_priority)
        if owed:
            doorbell.ring_on_commit()


def about_to_delete(sender: type[Asset], instance: Asset, using: str, **_: Any) -> None:
    """Lock the asset before its jobs are deleted, in the order in which workers lock them."""
    list(Asset.objects.using(using).filter(pk=instance.pk).select_for_update().values_list("pk"))


def deleted(sender: type[Asset], instance: Asset, using: str, **_: Any) -> None:
    """Delete the files that no other asset has, once the row is gone for good."""
    file, thumbnail = instance.file, instance.thumbnail

    def delete_files() -> None:
        if instance.source == LIBRARY and file.name:
            file.storage.delete(file.name)
        if thumbnail and not Asset.objects.filter(thumbnail=thumbnail).exists():  # The same content shares one.
            storage().delete(thumbnail)

    transaction.on_commit(delete_files, using=using, robust=True)
