"""Parts of a file, and how they are counted."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

PIXELS = 50_000_000
"""Of the largest picture that the limits are for; where larger ones are accepted, they may have as many scans."""


@dataclass(frozen=True, slots=True)
class Count:
    """How many parts of one kind a file has, counted no further than is needed, and how many it may have."""

    parts: str
    number: int
    most: int


def unpacked(form: str, data: bytes, at: int) -> tuple[int, ...]:
    """Return numbers of a file; zeros where the file ends before them."""
    packed = struct.Struct(form)
    return packed.unpack(data[at : at + packed.size].ljust(packed.size, b"\0"))


def number_of(parts: Iterable[object], most: int) -> int:
    """Count parts, and no more of them than make too many."""
    return sum(1 for _ in islice(parts, most + 1))
