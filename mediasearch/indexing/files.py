"""The files of a batch, read from their storages a few ahead of whoever opens them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from django.db import connections, transaction

from mediasearch.exceptions import MediaSearchError, StorageUnavailable
from mediasearch.indexing import sessions
from mediasearch.models import Asset
from mediasearch.sources.files import read

AHEAD = 4
"""Files that are read at once: a remote storage answers each of them slowly, and several as soon as one."""
TRIES = 3
"""How often a file that comes alone is read, before the storage's fault is told from its own."""


def read_ahead(assets: Sequence[Asset]) -> Iterator[tuple[Asset, bytes | MediaSearchError]]:
    """Yield each asset with the bytes of its file, in order, or with the error that reading it met."""
    tries = TRIES if len(assets) == 1 else 1
    if len(assets) < 2 or transaction.get_connection().in_atomic_block:
        # A thread has a connection of its own, which sees nothing of a transaction that is still open.
        yield from ((asset, _bytes_or_error(asset, tries)) for asset in assets)
        return
    with ThreadPoolExecutor(AHEAD, "mediasearch-files") as pool:
        coming: deque[Future[bytes | MediaSearchError]] = deque()
        for index, asset in enumerate(assets):
            while len(coming) < AHEAD and index + len(coming) < len(assets):
                coming.append(pool.submit(_in_thread, assets[index + len(coming)]))
            sessions.give_back()  # Those threads may want one, before this one goes on.
            yield asset, coming.popleft().result()


def _in_thread(asset: Asset) -> bytes | MediaSearchError:
    try:
        return _bytes_or_error(asset)
    finally:
        connections.close_all()  # A source may have asked the database where its file is.


def _bytes_or_error(asset: Asset, tries: int = 1) -> bytes | MediaSearchError:
    try:
        return read(asset)
    except StorageUnavailable as error:
        return error if tries == 1 else _bytes_or_error(asset, tries - 1)
    except MediaSearchError as error:
        return error
