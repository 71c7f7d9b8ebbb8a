"""GIF files: frames, and extensions between them."""

from __future__ import annotations

from collections.abc import Iterator

from mediasearch.exceptions import Withheld
from mediasearch.features.disclosure import xmp
from mediasearch.features.disclosure.allowance import Allowance
from mediasearch.features.disclosure.allowed import GIF_APPLICATIONS

SIGNATURES = (b"GIF87a", b"GIF89a")
_SCREEN = 13
_EXTENSION, _FRAME, _END = 0x21, 0x2C, 0x3B
_CONTROL, _APPLICATION = 0xF9, 0xFF
_APPLICATION_HEAD = 14
"""Bytes to the end of its name."""
_XMP = b"XMP DataXMP"
_XMP_TAIL = bytes([1, *range(255, -1, -1), 0])
"""Ends XMP, which is no series of blocks, for those that read it as one."""
_MOST_PARTS = 100_000


def cleared(data: bytes) -> bytes:
    """Return a GIF with only what is allowed, up to its end. Raises Withheld."""
    screen = _SCREEN + _palette(data[10])
    return data[:screen] + b"".join(_parts(data, screen))


def _parts(data: bytes, at: int) -> Iterator[bytes]:
    allowance = Allowance()
    for _ in range(_MOST_PARTS):
        kind = data[at] if at < len(data) else _END  # Some have no end; all of it has been looked at.
        if kind == _END:
            yield data[at : at + 1]
            return
        if kind == _FRAME:
            stop = _blocks(data, at + 10 + _palette(data[at + 9]) + 1)
            yield data[at:stop]
        elif kind == _EXTENSION and data[at + 3 : at + _APPLICATION_HEAD] == _XMP:
            stop = data.index(_XMP_TAIL, at) + len(_XMP_TAIL)
            packet = data[at + _APPLICATION_HEAD : stop - len(_XMP_TAIL)]
            if allowance.take() and (left := xmp.cleared(packet)):
                yield data[at : at + _APPLICATION_HEAD] + left + _XMP_TAIL
        elif kind == _EXTENSION:
            stop = _blocks(data, at + 2)
            if _is_allowed(data, at):
                yield data[at:stop]
        else:
            raise Withheld(f"This GIF has a part of an unknown kind ({kind:02X}).")
        at = stop
    raise Withheld("This GIF has too many parts.")


def _is_allowed(data: bytes, at: int) -> bool:
    if data[at + 1] == _APPLICATION:
        return data[at + 3 : at + _APPLICATION_HEAD] in GIF_APPLICATIONS
    return data[at + 1] == _CONTROL


def _palette(flags: int) -> int:
    """Return the bytes of the table of colours that these flags announce."""
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _blocks(data: bytes, at: int) -> int:
    """Return where a series of blocks ends. Raises IndexError where it does not."""
    while size := data[at]:
        at += 1 + size
    return at + 1
