"""A JPEG's segments and scans: https://www.w3.org/Graphics/JPEG/itu-t81.pdf, annex B."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Mapping
from itertools import islice

from mediasearch.features.structure.counting import PIXELS, Count

MOST_VISITS = 600
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


def counts(data: bytes, max_pixels: int) -> Iterator[Count]:
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
        yield _scans(data, at, _component_samples(frame), MOST_VISITS * max(max_pixels, PIXELS))


def _scans(data: bytes, at: int, sizes: Mapping[int, int], most: int) -> Count:
    """Count the scans from the first one on, and how many there may be for `most` visits in all of them together."""
    if data.count(_SCAN) * _CORRECTION * sum(sizes.values()) <= most:  # Each is one, unless it lies in another's data.
        return Count("scans", 0, 0)
    scans, visits, _ = visits_of(data, at, sizes)
    return counted(scans, visits, most)


def counted(scans: int, visits: int, most: int) -> Count:
    return Count("scans", scans, max(1, most * scans // visits) if visits else scans)


def visits_of(data: bytes, at: int, sizes: Mapping[int, int]) -> tuple[int, int, int]:
    """Return how many scans follow, how often they visit a sample, and where they end."""
    scans = visits = end = 0
    for marker, start, end in islice(_segments(data, at), _MOST_SEGMENTS):
        if marker in _FRAMES:
            sizes = _component_samples(data[start:end])
        elif marker == _SOS and end - start >= 4:
            scans += 1
            components, (first, _, steps) = data[start + 1 : end - 3 : 2], data[end - 3 : end]
            samples = sum(sizes.get(component, 0) for component in components)
            visits += samples * (_CORRECTION if first and steps >> 4 else 1)
    return scans, visits, end


def _component_samples(frame: bytes) -> dict[int, int]:
    """Return how many samples each component of a frame has, in whole blocks."""
    if len(frame) < _FRAME.size:
        return {}
    _, height, width, number = _FRAME.unpack_from(frame)
    lines = [frame[at : at + 3] for at in range(_FRAME.size, len(frame) - 2, 3)][:number]
    factors = {name: (factor >> 4, factor & 15) for name, factor, _ in lines}
    across, down = (max([1, *(pair[axis] for pair in factors.values())]) for axis in (0, 1))
    return {name: _in_blocks(width * h, across) * _in_blocks(height * v, down) for name, (h, v) in factors.items()}


def _in_blocks(samples: int, factor: int) -> int:
    return -(-samples // (8 * factor)) * 8


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
