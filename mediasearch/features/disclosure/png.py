"""PNG files: chunks, with texts and whole blocks of metadata among them."""

from __future__ import annotations

import binascii
import zlib
from collections.abc import Callable, Iterator

from mediasearch.exceptions import Withheld
from mediasearch.features.disclosure import iptc, tiff, xmp
from mediasearch.features.disclosure.allowance import Allowance
from mediasearch.features.disclosure.allowed import PNG_CHUNKS, PNG_TEXTS

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_MOST_CHUNKS, _LONGEST_TEXT = 100_000, 1_000_000
_XMP = b"XML:com.adobe.xmp"
_EXIF_PREFIX = b"Exif\0\0"


def cleared(data: bytes) -> bytes:
    """Return a PNG with only what is allowed, up to its end. Raises Withheld."""
    return SIGNATURE + b"".join(_chunks(data))


def _chunks(data: bytes) -> Iterator[bytes]:
    at, allowance = len(SIGNATURE), Allowance()
    for _ in range(_MOST_CHUNKS):
        length, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        stop = at + 12 + length
        if stop > len(data):
            raise Withheld("This PNG is cut short.")
        if kind in PNG_CHUNKS:
            yield data[at:stop]
        elif clear := _METADATA.get(kind):
            if allowance.take() and (left := clear(data[at + 8 : stop - 4])):
                yield _chunk(kind, left)
        elif not kind[0] & 0x20:
            raise Withheld(f"This PNG needs a chunk of an unknown kind ({kind!r}).")
        if kind == b"IEND":
            return
        at = stop
    raise Withheld("This PNG has too many chunks.")


def _chunk(kind: bytes, content: bytes) -> bytes:
    return len(content).to_bytes(4, "big") + kind + content + zlib.crc32(kind + content).to_bytes(4, "big")


def _text(content: bytes) -> bytes:
    """A keyword and Latin-1."""
    keyword, _, text = content.partition(b"\0")
    if keyword in PNG_TEXTS:
        return content
    left = _profile(keyword, text)
    return keyword + b"\0" + left if left else b""


def _compressed_text(content: bytes) -> bytes:
    """A keyword, the method of compression, and Latin-1."""
    keyword, _, rest = content.partition(b"\0")
    if keyword in PNG_TEXTS:
        return content
    left = _profile(keyword, _inflated(rest[1:]))
    return keyword + b"\0\0" + zlib.compress(left) if left else b""


def _international_text(content: bytes) -> bytes:
    """A keyword, a flag and the method of compression, language, translated keyword, and UTF-8."""
    keyword, _, rest = content.partition(b"\0")
    if keyword in PNG_TEXTS:
        return content
    if keyword != _XMP:
        return b""
    *_, packet = rest[2:].split(b"\0", 2)
    left = xmp.cleared(_inflated(packet) if rest[:1] == b"\1" else packet)
    return keyword + b"\0\0\0\0\0" + left if left else b""


def _exif(content: bytes) -> bytes:
    return tiff.exif(content.removeprefix(_EXIF_PREFIX))


_METADATA: dict[bytes, Callable[[bytes], bytes]] = {
    b"eXIf": _exif,
    b"tEXt": _text,
    b"zTXt": _compressed_text,
    b"iTXt": _international_text,
}
"""What clears a chunk's content; nothing is left where the chunk is to go."""
_PROFILES: dict[bytes, Callable[[bytes], bytes]] = {
    b"exif": _exif,
    b"APP1": _exif,
    b"iptc": iptc.resources,
    b"8bim": iptc.resources,
    b"xmp": xmp.cleared,
}
"""ImageMagick's blocks in hexadecimal digits, by the last word of their keyword."""


def _profile(keyword: bytes, text: bytes) -> bytes:
    """Return such a block with only what is allowed; b"" where nothing is left, or it is no such block."""
    _, prefix, name = keyword.partition(b"Raw profile type ")
    clear = _PROFILES.get(name) if prefix else None
    words = text.split()
    if clear is None or len(words) < 2:
        return b""
    try:
        block = binascii.unhexlify(b"".join(words[2:]))
    except binascii.Error:
        return b""
    prefix = _EXIF_PREFIX if block.startswith(_EXIF_PREFIX) else b""
    left = clear(block)
    digits = (prefix + left).hex().encode()
    lines = b"\n".join(digits[at : at + 72] for at in range(0, len(digits), 72))
    return b"\n%s\n%8d\n%s\n" % (name, len(digits) // 2, lines) if left else b""


def _inflated(packed: bytes) -> bytes:
    """Return a text that was compressed; b"" where it is damaged or too long."""
    engine = zlib.decompressobj()
    try:
        text = engine.decompress(packed, _LONGEST_TEXT)
    except zlib.error:
        return b""
    return text if engine.eof else b""
