"""WebP files: chunks, and the frames of an animation, which hold chunks themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from mediasearch.exceptions import Withheld
from mediasearch.features.disclosure import tiff, xmp
from mediasearch.features.disclosure.allowance import Allowance
from mediasearch.features.disclosure.allowed import WEBP_CHUNKS

_HEAD = 12
_FRAME, _FRAME_HEAD = b"ANMF", 16
_MOST_CHUNKS = 100_000
_HAS_EXIF, _HAS_XMP = 0x08, 0x04
"""Bits of the first byte of VP8X."""
_EXIF_PREFIX = b"Exif\0\0"


def is_webp(data: bytes) -> bool:
    return data[:4] == b"RIFF" and data[8:_HEAD] == b"WEBP"


def cleared(data: bytes) -> bytes:
    """Return a WebP with only what is allowed, up to its end. Raises Withheld."""
    stop = 8 + int.from_bytes(data[4:8], "little")
    if stop > len(data):
        raise Withheld("This WebP is cut short.")
    chunks = list(_chunks(data, _HEAD, stop, Allowance()))
    kinds = {chunk[:4] for chunk in chunks}
    body = b"".join(_flagged(chunk, kinds) for chunk in chunks)
    return b"RIFF" + (4 + len(body)).to_bytes(4, "little") + b"WEBP" + body


def _flagged(chunk: bytes, kinds: set[bytes]) -> bytes:
    """Return a chunk; that of the flags says which metadata there is."""
    if chunk[:4] != b"VP8X":
        return chunk
    flags = chunk[8] & ~(_HAS_EXIF | _HAS_XMP)
    flags |= (b"EXIF" in kinds) * _HAS_EXIF | (b"XMP " in kinds) * _HAS_XMP
    return chunk[:8] + bytes([flags]) + chunk[9:]


def _chunks(data: bytes, at: int, stop: int, allowance: Allowance) -> Iterator[bytes]:
    for _ in range(_MOST_CHUNKS):
        if at + 8 > stop:
            return
        kind, length = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        end = at + 8 + length
        if end > stop:
            raise Withheld("This WebP is cut short.")
        if kind in WEBP_CHUNKS:
            yield _chunk(kind, data[at + 8 : end])
        elif kind == _FRAME:
            frame = data[at + 8 : end]
            inner = _chunks(frame, _FRAME_HEAD, len(frame), allowance)
            yield _chunk(kind, frame[:_FRAME_HEAD] + b"".join(inner))
        elif (clear := _METADATA.get(kind)) and allowance.take() and (left := clear(data[at + 8 : end])):
            yield _chunk(kind, left)
        at = end + length % 2
    raise Withheld("This WebP has too many chunks.")


def _chunk(kind: bytes, content: bytes) -> bytes:
    return kind + len(content).to_bytes(4, "little") + content + b"\0" * (len(content) % 2)


def _exif(content: bytes) -> bytes:
    return tiff.exif(content.removeprefix(_EXIF_PREFIX))


_METADATA: dict[bytes, Callable[[bytes], bytes]] = {b"EXIF": _exif, b"XMP ": xmp.cleared}
"""What clears a chunk's content; nothing is left where the chunk is to go."""
