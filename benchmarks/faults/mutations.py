"""Seeded damage to files: what a number gives is the same each time, so that it can be looked at again."""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Callable, Mapping

INTERESTING = (0, 1, 2, 7, 8, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 2**31 - 1, 2**31, 2**32 - 1)
"""Numbers at which a length or a size goes wrong."""
HEADS = (
    b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01", b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR", b"GIF89a",
    b"RIFF\xff\xff\xff\xffWEBPVP8L", b"RIFF\x24\x00\x00\x00WEBPVP8X", b"BM\x36\x00\x00\x00",
    b"II*\x00\x08\x00\x00\x00", b"MM\x00*\x00\x00\x00\x08", b"\x00\x00\x00\x1cftypavif\x00\x00\x00\x00",
    b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00", b"%PDF-1.7\n", b"<svg ",
)  # fmt: skip
_PNG = b"\x89PNG\r\n\x1a\n"


def mutation(files: Mapping[str, bytes], seed: int, number: int) -> tuple[str, str, bytes]:
    """Return which file was damaged, how, and the damaged file."""
    chance = random.Random(f"{seed}/{number}")
    name = chance.choice(sorted(files))
    data = bytearray(files[name])
    chosen = [chance.choice(KINDS) for _ in range(chance.choice((1, 1, 1, 2, 3)))]
    for kind in chosen:
        kind(data, chance)
    if data.startswith(_PNG) and chance.random() < 0.7:  # Else a decoder goes no further than the wrong sum.
        chosen.append(_sums)
        _sums(data, chance)
    return name, "+".join(kind.__name__.strip("_") for kind in chosen), bytes(data)


def _bits(data: bytearray, chance: random.Random) -> None:
    for _ in range(chance.choice((1, 2, 8, 64)) if data else 0):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def _values(data: bytearray, chance: random.Random) -> None:
    at = _somewhere(data, chance)
    data[at : at + chance.randrange(1, 16)] = chance.choice((b"\0", b"\xff", b"\x80", chance.randbytes(1))) * 8


def _cut(data: bytearray, chance: random.Random) -> None:
    del data[_somewhere(data, chance) :]


def _gap(data: bytearray, chance: random.Random) -> None:
    at = _somewhere(data, chance)
    del data[at : at + chance.randrange(1, 512)]


def _twice(data: bytearray, chance: random.Random) -> None:
    start, at = _somewhere(data, chance), _somewhere(data, chance)
    data[at:at] = data[start : start + chance.randrange(1, 4_096)] * chance.choice((1, 1, 2, 40))


def _length(data: bytearray, chance: random.Random) -> None:
    """Lengths and sizes stand mostly at the start."""
    at = chance.randrange(max(1, min(len(data), chance.choice((64, 512, len(data) or 1)))))
    number = chance.choice(INTERESTING)
    form = chance.choice(("<H", ">H", "<I", ">I"))
    data[at : at + struct.calcsize(form)] = struct.pack(form, number & (0xFFFF if form[1] == "H" else 0xFFFFFFFF))


def _head(data: bytearray, chance: random.Random) -> None:
    head = chance.choice(HEADS)
    data[: len(head)] = head


def _sums(data: bytearray, chance: random.Random) -> None:
    """Make the sums of a PNG's chunks right again."""
    at = len(_PNG)
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        end = at + 8 + length
        if end + 4 > len(data):
            return
        data[end : end + 4] = struct.pack(">I", zlib.crc32(data[at + 4 : end]))
        at = end + 4


def _somewhere(data: bytearray, chance: random.Random) -> int:
    return chance.randrange(max(1, len(data)))


KINDS: tuple[Callable[[bytearray, random.Random], None], ...] = (
    _bits, _bits, _values, _cut, _gap, _twice, _length, _length, _head,
)  # fmt: skip
