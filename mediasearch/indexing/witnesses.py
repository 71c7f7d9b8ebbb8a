"""Whose fault is it that a file can't be read: its own, or its storage's? Other files of its source tell."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

from django.db.models import QuerySet

from mediasearch.exceptions import (
    FileMissing,
    FileUnreadable,
    MediaSearchError,
    StorageUnavailable,
    ThumbnailsUnavailable,
)
from mediasearch.indexing.files import TRIES
from mediasearch.models import Asset
from mediasearch.sources.files import read

_ASKED = 3


def judge(assets: Sequence[Asset], results: Sequence[Any]) -> list[Any]:
    """Return what a batch came to, with files that are at fault themselves told from a storage that is.

    A file is missing only where its storage has others: it has none where it is not mounted. One that can't be read
    is at fault itself only where others can be and where it came alone, so that it was tried several times. A
    StorageUnavailable that is left is nobody's fault yet: that file should come again alone. Raises StorageUnavailable
    where the storage is down.
    """
    asked = {
        a.source: a for a, r in zip(assets, results, strict=True) if isinstance(r, StorageUnavailable | FileMissing)
    }
    down = all(isinstance(result, StorageUnavailable) for result in results)
    if not asked or not (down or any(isinstance(result, FileMissing) for result in results)):
        return list(results)
    works = {source: storage_works(asset) for source, asset in asked.items()}
    judged = [_judged(r, works.get(a.source), len(assets) == 1) for a, r in zip(assets, results, strict=True)]
    faults = [result for result in judged if isinstance(result, StorageUnavailable)]
    if len(faults) == len(judged) and (isinstance(faults[0], ThumbnailsUnavailable) or not any(works.values())):
        raise faults[0]
    return judged


def _judged(result: Any, works: bool | None, alone: bool) -> Any:
    if isinstance(result, FileMissing) and works is False:
        return StorageUnavailable(f"The file storage has none of several files that it had: {result}")
    if isinstance(result, StorageUnavailable) and not isinstance(result, ThumbnailsUnavailable) and works and alone:
        return FileUnreadable(f"This file can't be read, though others of its storage can: {result}")
    return result


def storage_works(asset: Asset) -> bool | None:
    """Can another file of an asset's source be read, and be read again? None where there is no other to ask for.

    A storage that answers now and then does not work. A source of which no file could ever be read is compared with
    the others.
    """
    known = Asset.objects.primary().exclude(pk=asset.pk)
    others = _some(known.filter(source=asset.source)) or _some(known)
    if not others:
        return None
    return any(all(_readable(other) for _ in range(TRIES)) for other in others)


def _some(known: QuerySet[Asset]) -> list[Asset]:
    """Return a few of these that could be read once, by chance: one of them may have gone bad."""
    # From a place in the middle on, then from the first.
    starts = (known.filter(content_hash__gte=start).order_by("content_hash") for start in (secrets.token_hex(4), "0"))
    return list({found.pk: found for some in starts for found in some[:_ASKED]}.values())[:_ASKED]


def _readable(asset: Asset) -> bool:
    try:
        read(asset)
    except MediaSearchError:
        return False
    return True
