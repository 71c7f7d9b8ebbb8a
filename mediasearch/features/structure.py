"""How a file is built, counted before anything is decoded: what takes time beyond its pixels.

A JPEG is decoded once for each of its scans, a PNG's chunks are read one by one, an AVIF's items are looked for in a
list: a small file of many parts takes minutes. Counting reads lengths and markers alone, and stops where there are too
many, so that it takes milliseconds. Each limit lies where opening takes more than a second on a fast machine; what is
within all of them may still be slow, and is ended by the sandbox's clock.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

from mediasearch.exceptions import ImageTooComplex

PIXELS = 50_000_000
"""Of the largest picture that the limits are for; where larger ones are accepted, they may have as many scans."""


@dataclass(frozen=True, slots=True)
class Count:
    """How many parts of one kind a file has, counted no further than is needed, and how many it may have."""

    parts: str
    number: int
    most: int


def check(data: bytes, max_pixels: int = PIXELS) -> None:
    """Return if a file has few enough parts, or is of a format of which none are counted. Raises ImageTooComplex."""
    name = form(data)
    for count in COUNTERS[name](data, max_pixels) if name in COUNTERS else ():
        if count.number > count.most:
            raise ImageTooComplex(
                f"This {name} has {_said(count)} {count.parts}; at most {count.most:,} are accepted"
                f"{' at its size' if count.parts == 'scans' else ''}. Save it anew."
            )


def form(data: bytes) -> str:
    """Return what a file is by its first bytes; empty where it is nothing of which parts are counted."""
    return next((name for name, signature in _SIGNATURES.items() if signature.match(data)), "")


def _said(count: Count) -> str:
    return f"{count.number:,}" if count.parts == "scans" else f"more than {count.most:,}"


# JPEG: https://www.w3.org/Graphics/JPEG/itu-t81.pdf, annex B.

_MOST_VISITS = 600
"""Visits for each pixel of the largest picture, of all scans together. 600 take a second; a picture in full colours
has 40 as cameras and editors write it progressively, 4:4:4."""
_CORRECTION = 8
"""Visits for each sample of a scan that corrects coefficients: 0.3 ns and more, where the others take from 0.04."""
_MOST_SEGMENTS = 1_500_000
_MOST_COPIED = 70_000_000_000
"""Bytes: Pillow joins the segments of EXIF one by one, and copies all that it has for each."""
_SOS, _EOI, _APP1, _EXIF = 0xDA, 0xD9, 0xE1, b"Exif\0\0"
_SCAN = b"\xff\xda"
_NEXT = re.compile(rb"\xff[^\x00\xff]")
_AFTER_SCAN = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
_ALONE = frozenset([0x01, *range(0xD0, 0xD9)])
"""Markers that no length follows."""
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def _jpeg(data: bytes, max_pixels: int) -> Iterator[Count]:
    """Count what stands before the picture, which Pillow reads in Python, and then the scans."""
    segments = exif = copied = at = 0
    frame = b""
    for marker, start, end in _segments(data, 2):
        segments += 1
        if marker == _APP1 and data.startswith(_EXIF, start):
            exif += end - start - len(_EXIF)
            copied += exif
        elif marker in _FRAMES:
            frame = data[start:end]
        if marker == _SOS or segments > _MOST_SEGMENTS:
            at = start - 4 if marker == _SOS else 0
            break
    yield Count("segments", segments, _MOST_SEGMENTS)
    yield Count("bytes of EXIF in segments that are joined one by one", copied, _MOST_COPIED)
    if at:
        yield _scans(data, at, _component_samples(frame), _MOST_VISITS * max(max_pixels, PIXELS))


def _scans(data: bytes, at: int, sizes: Mapping[int, int], most: int) -> Count:
    """Count the scans from the first one on, and how many there may be for `most` visits in all of them together."""
    if data.count(_SCAN) * _CORRECTION * sum(sizes.values()) <= most:  # Each is one, unless it lies in another's data.
        return Count("scans", 0, 0)
    scans = visits = 0
    for marker, start, end in _segments(data, at):
        if marker == _SOS and end - start >= 4:
            scans += 1
            components, (first, _, steps) = data[start + 1 : end - 3 : 2], data[end - 3 : end]
            samples = sum(sizes.get(component, 0) for component in components)
            visits += samples * (_CORRECTION if first and steps >> 4 else 1)
    return Count("scans", scans, max(1, most * scans // visits) if visits else scans)


def _component_samples(frame: bytes) -> dict[int, int]:
    """Return how many samples each component of a frame has."""
    if len(frame) < _FRAME.size:
        return {}
    _, height, width, number = _FRAME.unpack_from(frame)
    lines = [frame[at : at + 3] for at in range(_FRAME.size, len(frame) - 2, 3)][:number]
    factors = {name: (factor >> 4, factor & 15) for name, factor, _ in lines}
    across, down = (max([1, *(pair[axis] for pair in factors.values())]) for axis in (0, 1))
    return {name: width * height * h * v // (across * down) for name, (h, v) in factors.items()}


_FRAME = struct.Struct(">BHHB")


def _segments(data: bytes, at: int) -> Iterator[tuple[int, int, int]]:
    """Yield the marker of each segment, and where its content starts and ends."""
    marker = 0
    while found := (_AFTER_SCAN if marker == _SOS else _NEXT).search(data, at):
        start = found.end()
        marker = data[start - 1]
        if marker == _EOI:
            return
        length = 0 if marker in _ALONE else int.from_bytes(data[start : start + 2], "big")
        at = start + length
        yield marker, min(start + 2, at), at


# PNG: https://www.w3.org/TR/png/

_MOST_CHUNKS = 800_000
_MOST_UNPACKED, _PROFILE, _RATIO = 600_000_000, 1_000_000, 1_000
"""Bytes that the colour profiles unpack to at most: each up to so many, and up to so many times as large."""


def _png(data: bytes, _: int) -> Iterator[Count]:
    at, chunks, unpacked = 8, 0, 0
    while at + 8 <= len(data) and chunks <= _MOST_CHUNKS:
        length, kind = struct.unpack_from(">I4s", data, at)
        if kind == b"iCCP":
            unpacked += min(_PROFILE, _RATIO * length)
        chunks += 1
        at += 12 + length
    yield Count("chunks", chunks, _MOST_CHUNKS)
    yield Count("bytes of colour profiles", unpacked, _MOST_UNPACKED)


# GIF: https://www.w3.org/Graphics/GIF/spec-gif89a.txt

_MOST_BLOCKS = 6_000_000
_NEXT_BLOCK = re.compile(rb"[!,;]")
"""An extension, a picture, or the end."""


def _gif(data: bytes, _: int) -> Iterator[Count]:
    yield Count("blocks", _number(_gif_blocks(data), _MOST_BLOCKS), _MOST_BLOCKS)


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


# TIFF: https://www.itu.int/itudoc/itu-t/com16/tiff-fx/docs/tiff6.pdf, and BigTIFF as libtiff has it.

_MOST_ENTRIES, _MOST_STRIPS = 800_000, 300_000
_BIG = 43
_COMPRESSION, _OFFSETS = 259, (273, 324)
_UNCOMPRESSED = 1


def _tiff(data: bytes, _: int) -> Iterator[Count]:
    """Count the entries of the first directory, which Pillow reads in Python as it does strips that are not packed.

    Where strips are JPEGs, libtiff refuses one of 100 scans by itself.
    """
    entries = compression = strips = 0
    for tag, number, value in islice(_entries(data), _MOST_ENTRIES + 1):
        entries += 1
        if tag == _COMPRESSION:
            compression = compression or value  # Of several, Pillow takes the first.
        elif tag in _OFFSETS:
            strips = max(strips, min(number, len(data)))
    yield Count("entries in its directory", entries, _MOST_ENTRIES)
    if compression in (0, _UNCOMPRESSED):
        yield Count("strips", strips, _MOST_STRIPS)


def _entries(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield the tag of each entry, of how many numbers it is, and its number if it is a single short one."""
    order = "<" if data[:1] == b"I" else ">"
    at, length, line = (8, "Q", "HHQH6x") if data[2] == _BIG else (4, "H", "HHIH2x")
    (at,) = _unpacked(f"{order}{'Q' if length == 'Q' else 'I'}", data, at)
    (number,) = _unpacked(f"{order}{length}", data, at)
    start, line = at + struct.calcsize(length), order + line
    size = struct.calcsize(line)
    for place in range(start, min(start + number * size, len(data) - size + 1), size):
        tag, _, count, value = struct.unpack_from(line, data, place)
        yield tag, count, value


# AVIF and HEIC: ISO/IEC 14496-12, boxes in boxes.

_MOST_BOXES, _MOST_STEPS = 40_000, 1_000_000_000
_CONTAINERS = {b"meta": 4, b"iinf": 6, b"iref": 4, b"iprp": 0, b"ipco": 0, b"moov": 0, b"trak": 0, b"mdia": 0,
               b"minf": 0, b"stbl": 0}  # fmt: skip
"""Boxes that hold others, with the bytes before these; of `iinf` in its later version there are two more."""
_TABLES = (b"iloc", b"ipma", b"stsc", b"stco", b"co64")
"""Boxes that hold a list."""
_SHORTEST_LINE = 3


def _boxed(data: bytes, _: int) -> Iterator[Count]:
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
            (size,), start = _unpacked(">Q", data, at + 8), at + 16
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
        (number,) = _unpacked(">I" if data[start : start + 1] == b"\2" else ">H", data, start + 6)
    else:
        (number,) = _unpacked(">I", data, start + 4)
    return min(number, (end - start) // _SHORTEST_LINE)


def _unpacked(form: str, data: bytes, at: int) -> tuple[int, ...]:
    """Return numbers of a file; zeros where the file ends before them."""
    packed = struct.Struct(form)
    return packed.unpack(data[at : at + packed.size].ljust(packed.size, b"\0"))


def _number(parts: Iterable[object], most: int) -> int:
    """Count parts, and no more of them than make too many."""
    return sum(1 for _ in islice(parts, most + 1))


COUNTERS: dict[str, Callable[[bytes, int], Iterator[Count]]] = {
    "JPEG": _jpeg,
    "PNG": _png,
    "GIF": _gif,
    "TIFF": _tiff,
    "AVIF or HEIC": _boxed,
}
"""What is counted in the files of each format. Of WebP and BMP, nothing that a file can have many of costs time."""
_SIGNATURES: dict[str, re.Pattern[bytes]] = {
    "JPEG": re.compile(rb"\xff\xd8\xff"),
    "PNG": re.compile(rb"\x89PNG\r\n\x1a\n"),
    "GIF": re.compile(rb"GIF8[79]a"),
    "TIFF": re.compile(rb"II[*+]\0|II\0[*+]|MM\0[*+]|MM[*+]\0"),
    "AVIF or HEIC": re.compile(rb"....ftyp", re.DOTALL),
}
