"""The file of an asset, through the source that it belongs to: to work with, and to send to somebody."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, BinaryIO, cast

from django.db import DatabaseError, InterfaceError

from mediasearch.exceptions import FileMissing, MediaSearchError, StorageUnavailable
from mediasearch.features import opener
from mediasearch.models import Asset
from mediasearch.sources import registry

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser, AnonymousUser

_IN_MEMORY = 1_000_000
"""Bytes; a larger copy waits in a temporary file while a slow client takes it."""


def read(asset: Asset) -> bytes:
    """Return the bytes of an asset's file. Raises FileMissing, ImageTooLarge, StorageUnavailable."""
    with _storage_errors(), registry.source_of(asset).open(asset) as stream:
        return opener.load(stream)


@contextmanager
def _storage_errors() -> Iterator[None]:
    """Raise what a storage raises as FileMissing or StorageUnavailable."""
    try:
        yield
    except FileNotFoundError as error:
        raise FileMissing(f"The storage has no file for this image ({error}).") from error
    except (MediaSearchError, DatabaseError, InterfaceError):
        raise
    except Exception as error:  # Remote storages raise what their own libraries do.
        raise StorageUnavailable(f"The file storage does not answer: {error}.") from error


def open_original(asset: Asset, user: AbstractBaseUser | AnonymousUser | None) -> BinaryIO:
    """Return the file of an asset as a user may have it, opened for reading at its start; None is a visitor.

    All that sends a file to somebody calls this. Who may have it untouched gets it as
    it was uploaded; all others get it with only that metadata which
    `features.disclosure.allowed` names, and the same pixels bit for bit. Whether the
    user may see the asset at all is asked before.

    Raises FileMissing, StorageUnavailable; of files that can't be cleared, a subclass
    of Refused or of Troublesome, or Withheld; SandboxUnavailable.
    """
    source = registry.source_of(asset)
    if source.sends_untouched(asset, user):
        with _storage_errors():
            return source.open(asset)
    cleared = opener.cleared(read(asset))
    with _storage_errors(), ExitStack() as undoing:  # A full disk is the storage's trouble, too.
        copy = undoing.enter_context(tempfile.SpooledTemporaryFile(_IN_MEMORY))
        copy.write(cleared)
        copy.seek(0)
        undoing.pop_all()
    return cast(BinaryIO, copy)
