"""A TIFF's entries and strips: https://www.itu.int/itudoc/itu-t/com16/tiff-fx/docs/tiff6.pdf, and BigTIFF."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from mediasearch.features.structure.counting import PIXELS, Count, unpacked
from mediasearch.features.structure.jpeg import MOST_VISITS, counted, visits_of

_MOST_ENTRIES, _MOST_STRIPS = 800_000, 300_000
_BIG = 43
_COMPRESSION, _OFFSETS = 259, (273, 324)
_UNCOMPRESSED, _JPEG = 1, 7
_NUMBERS = {3: "H", 4: "I", 16: "Q"}
"""How numbers are stored, by the type of an entry."""
_POINTERS = {4: "I", 8: "Q"}
"""The same of what says where they are, by its length."""
_ROUNDS = 2
"""How often a file may be read for its strips, which may overlap; more are left to the clock."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """A line of a directory: what it is about, and where its numbers are, or these themselves."""

    tag: int
    kind: int
    number: int
    value: bytes

    def numbers(self, data: bytes, order: str, most: int) -> tuple[int, ...]:
        """Return the first numbers, at most so many; zeros where the file ends before them."""
        if self.kind not in _NUMBERS:
            return ()
        form = f"{order}{min(self.number, most)}{_NUMBERS[self.kind]}"
        if struct.calcsize(f"{order}{_NUMBERS[self.kind]}") * self.number <= len(self.value):
            return unpacked(form, self.value, 0)
        return unpacked(form, data, *unpacked(f"{order}{_POINTERS[len(self.value)]}", self.value, 0))


def counts(data: bytes, max_pixels: int) -> Iterator[Count]:
    """Count the entries of the first directory and the strips that are not packed: Pillow reads both in Python.

    Of strips that are JPEGs, scans are counted.
    """
    order = "<" if data[:1] == b"I" else ">"
    number, compression = 0, _UNCOMPRESSED
    first: dict[int, _Entry] = {}
    for entry in islice(_entries(data, order), _MOST_ENTRIES + 1):
        number += 1
        first.setdefault(entry.tag, entry)  # Of several, Pillow takes the first.
    yield Count("entries in its directory", number, _MOST_ENTRIES)
    if _COMPRESSION in first:
        (compression,) = first[_COMPRESSION].numbers(data, order, 1) or (0,)
    strips = next((first[tag] for tag in _OFFSETS if tag in first), None)
    if strips and compression == _UNCOMPRESSED:
        yield Count("strips", min(strips.number, len(data)), _MOST_STRIPS)
    elif strips and compression == _JPEG:
        places = strips.numbers(data, order, min(len(data), _MOST_STRIPS))
        yield _strip_scans(data, places, MOST_VISITS * max(max_pixels, PIXELS))


def _entries(data: bytes, order: str) -> Iterator[_Entry]:
    """Yield the entries of the first directory."""
    at, pointer, length, line = (8, "Q", "Q", "HHQ8s") if data[2] == _BIG else (4, "I", "H", "HHI4s")
    (at,) = unpacked(order + pointer, data, at)
    (number,) = unpacked(order + length, data, at)
    packed = struct.Struct(order + line)
    start = at + struct.calcsize(length)
    for place in range(start, min(start + number * packed.size, len(data) - packed.size + 1), packed.size):
        yield _Entry(*packed.unpack_from(data, place))


def _strip_scans(data: bytes, places: Iterable[int], most: int) -> Count:
    """Count the scans of strips that are JPEGs, many of which may be the same bytes."""
    known: dict[int, tuple[int, int]] = {}
    scans = visits = read = 0
    for place in places:
        if place not in known:
            strip_scans, strip_visits, end = visits_of(data, place + 2, {})
            known[place] = strip_scans, strip_visits
            read += max(0, end - place)
        scans, visits = scans + known[place][0], visits + known[place][1]
        if visits > most or read > _ROUNDS * len(data):
            break
    return counted(scans, visits, most)
