"""Files that no row has any more are deleted from the storage, after the commit that let them go.

Whoever puts a file's name into a row holds a shared advisory lock until that is committed (a trigger takes it). Here
the exclusive one is only tried: so no file is deleted while somebody is about to make a copy of the row that had it.
"""

from __future__ import annotations

import logging
from datetime import timedelta

from django.db import DatabaseError, InterfaceError, connections, router, transaction
from django.db.models.functions import Now

from mediasearch.models import Asset, Discard, storage
from mediasearch.querysets import DiscardQuerySet

logger = logging.getLogger(__name__)
LOCK, BUCKETS = 0x6D656466, 64
"""PostgreSQL's advisory locks: their first key, and how many there are. The trigger has them, too."""
AGAIN = timedelta(minutes=5)
"""When a file is tried once more that the storage would not delete."""
_AT_ONCE = 500


def delete_due() -> int:
    """Settle each due discard in a transaction of its own; return how many files were deleted."""
    last = deleted = 0
    while ids := list(_due().filter(pk__gt=last).order_by("pk").values_list("pk", flat=True)[:_AT_ONCE]):
        deleted, last = deleted + sum(map(_settle, ids)), ids[-1]
    if deleted:
        logger.info("%d files deleted that no image has", deleted, extra={"event": "files-deleted", "files": deleted})
    return deleted


def _due() -> DiscardQuerySet:
    return Discard.objects.primary().due()


def _settle(pk: int) -> bool:
    """Delete a file that no row has, and the discard with it; return whether a file was deleted.

    One that another process is at, or whose name somebody is writing, is left for later.
    """
    with transaction.atomic(using=_database()):
        discard = _due().filter(pk=pk).select_for_update(skip_locked=True).first()
        if discard is None or not _is_locked(discard.name):
            return False
        is_used = Asset.objects.primary().having(discard.name).exists()
        if not is_used and not _is_deleted(discard.name):
            Discard.objects.primary().filter(pk=pk).update(due_at=Now() + AGAIN)
            return False
        discard.delete()
        return not is_used


def _is_locked(name: str) -> bool:
    """Try to lock a name until the transaction ends."""
    with connections[_database()].cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s, hashtext(%s) & %s)", [LOCK, name, BUCKETS - 1])
        return bool(cursor.fetchone()[0])


def _is_deleted(name: str) -> bool:
    """Delete a file; return whether it is gone."""
    try:
        storage().delete(name)
    except FileNotFoundError:
        return True
    except (DatabaseError, InterfaceError):
        raise
    except Exception as error:  # Whatever the storage's own library raises.
        extra = {"event": "delete-failed", "file": name, "reason": str(error), "fault": type(error).__name__}
        logger.warning("The storage does not delete %s: %s", name, error, extra=extra)
        return False
    return True


def _database() -> str:
    return router.db_for_write(Discard)
