"""The file of an asset, through the source that it belongs to."""

from __future__ import annotations

from django.db import DatabaseError, InterfaceError

from mediasearch.exceptions import FileMissing, MediaSearchError, StorageUnavailable
from mediasearch.features import opener
from mediasearch.models import Asset
from mediasearch.sources import registry


def read(asset: Asset) -> bytes:
    """Return the bytes of an asset's file. Raises FileMissing, ImageTooLarge, StorageUnavailable."""
    try:
        with registry.source_of(asset).open(asset) as stream:
            return opener.load(stream)
    except FileNotFoundError as error:
        raise FileMissing(f"The storage has no file for this image ({error}).") from error
    except (MediaSearchError, DatabaseError, InterfaceError):
        raise
    except Exception as error:  # Remote storages raise what their own libraries do.
        raise StorageUnavailable(f"The file storage does not answer: {error}.") from error
