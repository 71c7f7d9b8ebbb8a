"""JPEG files: segments, and the further pictures that a multi-picture index names.

What is taken out of a segment becomes zeros, so that nothing moves. What follows the
last picture is cut off: phones append films and notes there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from mediasearch.exceptions import Withheld
from mediasearch.features.disclosure import iptc, tiff, xmp
from mediasearch.features.disclosure.allowance import Allowance

SIGNATURE = b"\xff\xd8\xff"
_START, _END, _SCAN = 0xD8, 0xD9, 0xDA
_CODING = frozenset({*range(0xC0, 0xD0), 0xDA, 0xDB, 0xDC, 0xDD, 0xDE, 0xDF}) - {0xC8}
"""Segments that the pixels are decoded with."""
_OTHERS = frozenset({*range(0xE0, 0xF0), 0xFE})
"""Applications' segments and comments."""
_ALONE = frozenset({0x01, *range(0xD0, 0xD8)})
"""Markers without a segment."""
_MARKER = re.compile(rb"\xff[^\x00\xff]")
_AFTER_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_MOST_SEGMENTS = 100_000
_JFIF_HEAD = 7
"""Bytes of version and resolution, before a thumbnail."""
_INDEX = b"MPF\0"


def _untouched(body: bytes) -> bytes:
    return body


def _jfif(body: bytes) -> bytes:
    return body[:_JFIF_HEAD].ljust(len(body), b"\0")


_SEGMENTS: tuple[tuple[int, bytes, Callable[[bytes], bytes]], ...] = (
    (0xE0, b"JFIF\0", _jfif),
    (0xE1, b"Exif\0\0", tiff.exif),
    (0xE1, b"http://ns.adobe.com/xap/1.0/\0", xmp.cleared),
    (0xE2, b"ICC_PROFILE\0", _untouched),
    (0xE2, _INDEX, tiff.multi_picture),
    (0xE2, b"urn:iso:std:iso:ts:21496:-1\0", _untouched),  # How a gain map brightens the picture.
    (0xED, b"Photoshop 3.0\0", iptc.resources),
    (0xEE, b"Adobe", _untouched),  # How colours are coded.
)
"""Marker, signature, and what clears the rest. Each returns as many bytes, or none to take out the segment."""


def cleared(data: bytes) -> bytes:
    """Return a JPEG with only what is allowed. Raises Withheld."""
    allowance = Allowance()
    picture, index = _picture(data, 0, allowance)
    if not index:
        return picture
    copy = bytearray(picture)
    for start in sorted(index):
        if len(copy) <= start and data.startswith(SIGNATURE, start):
            copy += bytes(start - len(copy)) + _picture(data, start, allowance)[0]
    return bytes(copy)


def strip(data: bytes) -> bytes:
    """Return a JPEG that is a strip of another file, of the same length. Raises Withheld."""
    return _picture(data, 0, Allowance())[0].ljust(len(data), b"\0")


def _picture(data: bytes, start: int, allowance: Allowance) -> tuple[bytes, list[int]]:
    """Return one picture from its start to its end, and where in the file others are."""
    parts, index = list[bytes](), list[int]()
    for at, part in _parts(data, start, allowance):
        parts.append(part)
        if part.startswith(_INDEX, 4):
            head = 4 + len(_INDEX)
            index += [at + head + offset for offset in tiff.pictures(part[head:]) if offset]
    return b"".join(parts), index


def _parts(data: bytes, start: int, allowance: Allowance) -> Iterator[tuple[int, bytes]]:
    """Yield each segment with where it begins, cleared; between them stand fill bytes."""
    at, marker = start, _MARKER
    for _ in range(_MOST_SEGMENTS):
        found = marker.search(data, at)
        if found is None:
            raise Withheld("This JPEG has no end.")
        scan = data[at : found.start()] if marker is _AFTER_SCAN else b"\xff" * (found.start() - at)
        yield at, scan
        code, at, stop = found[0][1], found.start(), found.end()
        if code in _CODING or code in _OTHERS:
            stop += int.from_bytes(data[stop : stop + 2], "big")
        elif code != _END and code != _START and code not in _ALONE:
            raise Withheld(f"This JPEG has a segment of an unknown kind (FF{code:02X}).")
        if stop > len(data):
            raise Withheld("This JPEG is cut short.")
        yield at, _segment(code, data[at:stop], allowance) if code in _OTHERS else data[at:stop]
        if code == _END:
            return
        at, marker = stop, _AFTER_SCAN if code == _SCAN else _MARKER
    raise Withheld("This JPEG has too many segments.")


def _segment(code: int, segment: bytes, allowance: Allowance) -> bytes:
    """Return an application's segment with only what is allowed, of the same length."""
    for marker, signature, clear in _SEGMENTS:
        if code == marker and segment.startswith(signature, 4):
            head = 4 + len(signature)
            may_read = clear is _untouched or allowance.take()
            if may_read and (left := clear(segment[head:])):
                return segment[:head] + left
    return segment[:4].ljust(len(segment), b"\0")
