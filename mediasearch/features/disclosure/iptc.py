"""IPTC's records, and Photoshop's resources that they lie in."""

from __future__ import annotations

from collections.abc import Iterator

from mediasearch.features.disclosure import allowed

_MARKER = 0x1C
_EXTENDED = 0x8000
_RESOURCE = b"8BIM"
_HEAD = 12
"""Bytes of a resource without a name and content."""
_RECORDS, _FILLER = 0x0404, 0x0FA0
"""Of a resource's number; the latter is for plug-ins, and so nothing to others."""


def cleared(records: bytes) -> bytes:
    """Return the records that are allowed, filled with zeros to the same length; b"" where none is left."""
    left = b"".join(_allowed(records))
    return left.ljust(len(records), b"\0") if left else b""


def _allowed(records: bytes) -> Iterator[bytes]:
    at = 0
    while at + 5 <= len(records) and records[at] == _MARKER:
        length = int.from_bytes(records[at + 3 : at + 5], "big")
        if length & _EXTENDED:  # Of more than 32 kB: previews.
            return
        stop = at + 5 + length
        if stop <= len(records) and (records[at + 1], records[at + 2]) in allowed.IPTC:
            yield records[at:stop]
        at = stop


def resources(block: bytes) -> bytes:
    """Return the resources that are allowed, filled to the same length; b"" where none is left.

    A resource of zeros fills it, for readers trip over zeros within IPTC's records and
    between resources.
    """
    left = b"".join(_resources(block))
    spare = len(block) - len(left) - _HEAD
    if left and spare >= 0:
        left += _resource(_FILLER, bytes(spare))
    return left.ljust(len(block), b"\0")[: len(block)] if left else b""


def _resource(number: int, content: bytes) -> bytes:
    head = _RESOURCE + number.to_bytes(2, "big") + b"\0\0" + len(content).to_bytes(4, "big")
    return head + content + b"\0" * (len(content) % 2)


def _resources(block: bytes) -> Iterator[bytes]:
    at = 0
    while at + _HEAD <= len(block) and block[at : at + 4] == _RESOURCE:
        number = int.from_bytes(block[at + 4 : at + 6], "big")
        start = at + 6 + _even(1 + block[at + 6]) + 4
        size = int.from_bytes(block[start - 4 : start], "big")
        stop = start + size
        if stop > len(block):
            return
        content = block[start:stop]
        if number == _RECORDS:
            content = b"".join(_allowed(content))
        elif number not in allowed.PHOTOSHOP:
            content = b""
        if content:
            yield _resource(number, content)
        at = start + _even(size)


def _even(size: int) -> int:
    return size + size % 2
