"""A PNG's chunks: https://www.w3.org/TR/png/."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from mediasearch.features.structure.counting import Count

_MOST_CHUNKS = 800_000
_MOST_UNPACKED, _PROFILE, _RATIO = 600_000_000, 1_000_000, 1_000
"""Bytes that the colour profiles unpack to at most: each up to so many, and up to so many times as large."""


def counts(data: bytes, _: int) -> Iterator[Count]:
    at, chunks, unpacked = 8, 0, 0
    while at + 8 <= len(data) and chunks <= _MOST_CHUNKS:
        length, kind = struct.unpack_from(">I4s", data, at)
        if kind == b"iCCP":
            unpacked += min(_PROFILE, _RATIO * length)
        chunks += 1
        at += 12 + length
    yield Count("chunks", chunks, _MOST_CHUNKS)
    yield Count("bytes of colour profiles", unpacked, _MOST_UNPACKED)
