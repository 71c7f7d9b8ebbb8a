"""Ranges of bytes of a file, each with its start and its end."""

from __future__ import annotations

from collections.abc import Sequence

from mediasearch.exceptions import Withheld

Range = tuple[int, int]


def hold_apart(pixels: Sequence[Range], others: Sequence[Range]) -> None:
    """Raise Withheld where pixels and other things share bytes: then one can't leave without the other."""
    reached = [0, 0]
    for start, stop, kind in sorted([(*pair, 0) for pair in pixels] + [(*pair, 1) for pair in others]):
        if start < min(stop, reached[1 - kind]):
            raise Withheld("The pixels of this file lie across what it says of itself.")
        reached[kind] = max(reached[kind], stop)
