"""What follows from saving and deleting an asset, in the same transaction."""

from __future__ import annotations

from typing import Any

from django.db.models.signals import post_save, pre_delete

from mediasearch import derivation
from mediasearch.indexing import doorbell
from mediasearch.models import Asset
from mediasearch.querysets import jobs_owed


def connect() -> None:
    """Start to listen."""
    jobs_owed.connect(owed, dispatch_uid="mediasearch.owed")
    post_save.connect(loaded, sender=Asset, dispatch_uid="mediasearch.loaded")
    pre_delete.connect(about_to_delete, sender=Asset, dispatch_uid="mediasearch.about_to_delete")


def owed(**_: Any) -> None:
    """Ring the workers when what became due is committed."""
    doorbell.ring_on_commit()


def loaded(sender: type[Asset], instance: Asset, raw: bool, created: bool, using: str, **_: Any) -> None:
    """Have text vector and jobs follow where a fixture changed a row that was there.

    The jobs not at once, for the fixture may bring them along: the workers' upkeep owes them when it is committed.
    """
    if raw and not created:
        assets = Asset.objects.using(using)
        derivation.rewrite(assets.inputs([instance.pk]), using)
        assets.filter(pk=instance.pk).record(derived_version=0)


def about_to_delete(sender: type[Asset], instance: Asset, using: str, **_: Any) -> None:
    """Lock the asset before its jobs are deleted, in the order in which everybody locks them."""
    list(Asset.objects.using(using).filter(pk=instance.pk).select_for_update().values_list("pk"))
