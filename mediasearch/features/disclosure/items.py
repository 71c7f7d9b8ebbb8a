"""The items of HEIC and AVIF: what they are, where they lie, and what is left of those that hold metadata."""

from __future__ import annotations

from collections.abc import Callable

from mediasearch.exceptions import Withheld
from mediasearch.features.disclosure import tiff, xmp
from mediasearch.features.disclosure.allowed import ITEMS
from mediasearch.features.disclosure.ranges import Range

_MIME = b"mime"
_XMP_TYPE = b"application/rdf+xml"
_EXIF_PREFIX = b"Exif\0\0"
_IN_FILE, _IN_STORE = 0, 1
"""How an item's place is given: counted from the start of the file, or of a box in the index."""
_MOST_EXTENTS = 100_000


class _Reader:
    """Numbers of so many bytes, one after the other. Raises Withheld past the end."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def number(self, size: int) -> int:
        self._at += size
        if self._at > len(self._data):
            raise Withheld("An index of this file is cut short.")
        return int.from_bytes(self._data[self._at - size : self._at], "big")

    @property
    def rest(self) -> bytes:
        return self._data[self._at :]


def is_picture(kind: bytes) -> bool:
    return kind in ITEMS


def described(info: bytes) -> tuple[int, bytes]:
    """Return an item's number and kind, of an `infe` box; for MIME types, that."""
    reader = _Reader(info)
    version = reader.number(4) >> 24
    if version < 2:
        return reader.number(2), b""
    number = reader.number(2 if version == 2 else 4)
    reader.number(2)
    kind, _, rest = reader.rest[:4], *reader.rest[4:].partition(b"\0")[1:]
    return number, rest.partition(b"\0")[0] if kind == _MIME else kind


def places(index: bytes, size: int, store: Range) -> dict[int, list[Range]]:
    """Return where the bytes of each item are, of an `iloc` box in a file of `size` bytes. Raises Withheld."""
    reader = _Reader(index)
    version, sizes = reader.number(4) >> 24, reader.number(2)
    wide = 4 if version == 2 else 2
    offset_size, length_size, base_size, index_size = (sizes >> shift & 15 for shift in (12, 8, 4, 0))
    found, left = dict[int, list[Range]](), _MOST_EXTENTS
    for _ in range(reader.number(wide)):
        number = reader.number(wide)
        method = reader.number(2) & 15 if version else _IN_FILE
        is_elsewhere = reader.number(2)
        base, count = reader.number(base_size), reader.number(2)
        left -= count + 1
        if left < 0:
            raise Withheld("This file has too many items.")
        first, last = {_IN_FILE: (0, size), _IN_STORE: store}.get(method, (0, 0))
        extents = list[Range]()
        for _ in range(count):
            if version:
                reader.number(index_size)
            start = min(first + base + reader.number(offset_size), last)
            length = reader.number(length_size)
            extents.append((start, min(start + length, last) if length else last))
        if not is_elsewhere:
            found.setdefault(number, []).extend(extents)
    return found


def _exif(item: bytes) -> bytes:
    """Return an item of EXIF with only what is allowed, of the same length: first comes how far off the block is."""
    start = 4 + int.from_bytes(item[:4], "big")
    if block := tiff.exif(item[start:]):
        prefix = item[4:start] if item[4:start] == _EXIF_PREFIX else bytes(start - 4)
        return item[:4] + prefix + block
    return (bytes(4) + tiff.EMPTY).ljust(len(item), b"\0")[: len(item)]


def _xmp(item: bytes) -> bytes:
    return xmp.cleared(item) or xmp.EMPTY.ljust(len(item))[: len(item)]


CLEARED: dict[bytes, Callable[[bytes], bytes]] = {b"Exif": _exif, _XMP_TYPE: _xmp}
"""What clears an item, by its kind. All that is neither here nor a picture becomes zeros."""
