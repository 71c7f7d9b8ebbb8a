"""BMP files, which have no metadata: what belongs to no header, palette, pixel or profile is left out."""

from __future__ import annotations

import struct

from mediasearch.exceptions import Withheld

SIGNATURE = b"BM"
_FILE_HEADER, _OLD_HEADER, _PROFILE_HEADER = 14, 12, 124
_LONGEST_HEAD = 2_000
"""Bytes of headers, masks and a palette of 256 colours, with some to spare."""
_BY_ROWS, _RUN_LENGTHS = (0, 3, 6), (1, 2)
"""Kinds of compression: those that are none, and those whose length the header has to say."""
_EMBEDDED = b"DEBM"


def cleared(data: bytes) -> bytes:
    """Return a BMP with only what shows the picture. Raises Withheld."""
    named, header = struct.unpack_from("<II", data, 10)
    start = max(named, _FILE_HEADER + header + _palette(data, header))  # As Pillow does, where it is named wrong.
    stop = start + _length(data, header)
    if start > _LONGEST_HEAD or not stop <= len(data):
        raise Withheld("This BMP does not say where its pixels are, or is cut short.")
    return data[:stop] + _profile(data, header, stop)


def _length(data: bytes, header: int) -> int:
    """Return the bytes of the pixels. Raises Withheld."""
    if header == _OLD_HEADER:
        width, height, bits = struct.unpack_from("<HH2xH", data, 18)
        kind = size = 0
    else:
        width, height, bits, kind, size = struct.unpack_from("<ii2xHII", data, 18)
    if kind in _RUN_LENGTHS and size:
        return int(size)
    if kind not in _BY_ROWS:
        raise Withheld("This BMP does not say how long its pixels are.")
    return int(abs(height) * ((abs(width) * bits + 31) // 32 * 4))


def _palette(data: bytes, header: int) -> int:
    """Return the bytes of the table of colours."""
    bits = int(struct.unpack_from("<H", data, 24 if header == _OLD_HEADER else 28)[0])
    if bits > 8:
        return 0
    if header == _OLD_HEADER:
        return 3 << bits
    return 4 * (int(struct.unpack_from("<I", data, 46)[0]) or 1 << bits)


def _profile(data: bytes, header: int, stop: int) -> bytes:
    """Return the colour profile with what is before it, as zeros; b"" where there is none after the pixels."""
    if header < _PROFILE_HEADER or data[_FILE_HEADER + 56 : _FILE_HEADER + 60] != _EMBEDDED:
        return b""
    offset, size = struct.unpack_from("<II", data, _FILE_HEADER + 112)
    start = _FILE_HEADER + offset
    return bytes(start - stop) + data[start : start + size] if start >= stop and start + size <= len(data) else b""
