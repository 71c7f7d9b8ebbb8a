"""The boxes of AVIF and HEIC: ISO/IEC 14496-12."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import islice

from mediasearch.features.structure.counting import Count, unpacked

_MOST_BOXES, _MOST_STEPS = 40_000, 1_000_000_000
_CONTAINERS = {b"meta": 4, b"iinf": 6, b"iref": 4, b"iprp": 0, b"ipco": 0, b"moov": 0, b"trak": 0, b"mdia": 0,
               b"minf": 0, b"stbl": 0}  # fmt: skip
"""Boxes that hold others, with the bytes before these; of `iinf` in its later version there are two more."""
_TABLES = (b"iloc", b"ipma", b"stsc", b"stco", b"co64")
"""Boxes that hold a list."""
_SHORTEST_LINE = 3


def counts(data: bytes, _: int) -> Iterator[Count]:
    """Count boxes, and items that libraries look up one by one in a list of all."""
    boxes = 0
    lengths = dict.fromkeys(_TABLES, 0)
    for kind, start, end in islice(_boxes(data, 0, len(data)), _MOST_BOXES + 1):
        boxes += 1
        if kind in lengths:
            lengths[kind] = max(lengths[kind], _table_length(data, kind, start, end))
    yield Count("boxes", boxes, _MOST_BOXES)
    yield Count("items", max(lengths[b"iloc"], lengths[b"ipma"]), _MOST_BOXES)
    chunks = max(lengths[b"stco"], lengths[b"co64"])
    yield Count("steps through its frames", chunks * lengths[b"stsc"], _MOST_STEPS)


def _boxes(data: bytes, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield kind, start of its content and end of each box, in the order of the file, with those in it."""
    stack = [(at, end)]
    while stack:
        at, end = stack.pop()
        if at + 8 > end:
            continue
        size, kind = struct.unpack_from(">I4s", data, at)
        start = at + 8
        if size == 1 and at + 16 <= end:
            (size,), start = unpacked(">Q", data, at + 8), at + 16
        stop = min(end, at + size) if size else end
        if stop < start:
            continue
        yield kind, start, stop
        stack.append((stop, end))
        if kind in _CONTAINERS:
            later = 2 if kind == b"iinf" and data[start : start + 1] != b"\0" else 0
            stack.append((start + _CONTAINERS[kind] + later, stop))


def _table_length(data: bytes, kind: bytes, start: int, end: int) -> int:
    """Return how long a list says that it is, as far as its box has room."""
    if kind == b"iloc":
        (number,) = unpacked(">I" if data[start : start + 1] == b"\2" else ">H", data, start + 6)
    else:
        (number,) = unpacked(">I", data, start + 4)
    return min(number, (end - start) // _SHORTEST_LINE)
