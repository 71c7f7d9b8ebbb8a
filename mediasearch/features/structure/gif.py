"""A GIF's blocks: https://www.w3.org/Graphics/GIF/spec-gif89a.txt."""

from __future__ import annotations

import re
from collections.abc import Iterator

from mediasearch.features.structure.counting import Count, number_of

_MOST_BLOCKS = 6_000_000
_NEXT_BLOCK = re.compile(rb"[!,;]")
"""An extension, a picture, or the end."""


def counts(data: bytes, _: int) -> Iterator[Count]:
    yield Count("blocks", number_of(_gif_blocks(data), _MOST_BLOCKS), _MOST_BLOCKS)


def _gif_blocks(data: bytes) -> Iterator[int]:
    """Yield where each block before the first picture ends: comments and the like, and their blocks."""
    at = 13 + (3 << (data[10] & 7) + 1 if len(data) > 10 and data[10] & 0x80 else 0)
    while (found := _NEXT_BLOCK.search(data, at)) and found[0] == b"!":
        at = found.end() + 1
        while at < len(data) and (length := data[at]):
            at += 1 + length
            yield at
        at += 1
        yield at
