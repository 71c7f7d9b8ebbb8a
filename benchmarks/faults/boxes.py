"""Pictures in boxes, as AVIF and HEIC are: a grid of tiles around one coded picture."""

from __future__ import annotations

import struct


def box(kind: bytes, *content: bytes) -> bytes:
    body = b"".join(content)
    return struct.pack(">I", 8 + len(body)) + kind + body


def full(kind: bytes, version: int, *content: bytes, flags: int = 0) -> bytes:
    return box(kind, struct.pack(">I", version << 24 | flags), *content)


def grid(coded: bytes, kind: bytes, configuration: bytes, tile: int, across: int, items: int = 0) -> bytes:
    """Return a square grid of tiles, each the coded picture of a file of one, and with items that nothing refers to.

    `configuration` names the property that the decoder needs; all tiles are the same bytes of the file.
    """
    tiles = across * across
    pixels = _content(coded)
    whole = tile * across
    plan = struct.pack(">BBBBHH", 0, 0, across - 1, across - 1, whole, whole)
    properties = [_property(coded, configuration), _ispe(tile), _ispe(whole), full(b"pixi", 0, b"\3\x08\x08\x08")]
    numbers = range(2, 2 + tiles)
    spare = range(2 + tiles, 2 + tiles + items)
    names = [_infe(1, b"grid"), *(_infe(number, kind) for number in (*numbers, *spare))]
    references = struct.pack(">IH", 1, tiles) + b"".join(struct.pack(">I", number) for number in numbers)
    uses = struct.pack(">IB", 1, 2) + b"\3\4" + b"".join(struct.pack(">IB", n, 3) + b"\x81\2\4" for n in numbers)
    head = box(b"ftyp", _brand(kind), bytes(4), b"mif1", _brand(kind), b"miaf")

    def meta(start: int) -> bytes:
        places = _place(1, start, len(plan))
        places += b"".join(_place(n, start + len(plan), len(pixels)) for n in (*numbers, *spare))
        return full(
            b"meta", 0,
            full(b"hdlr", 0, bytes(4), b"pict", bytes(13)),
            full(b"pitm", 1, struct.pack(">I", 1)),
            full(b"iinf", 1, struct.pack(">I", len(names)), *names),
            full(b"iloc", 2, b"\x44\0", struct.pack(">I", len(names)), places),
            full(b"iref", 1, box(b"dimg", references)),
            box(b"iprp", box(b"ipco", *properties), full(b"ipma", 1, struct.pack(">I", 1 + tiles), uses)),
        )  # fmt: skip

    return head + meta(len(head) + len(meta(0)) + 8) + box(b"mdat", plan, pixels)


def _brand(kind: bytes) -> bytes:
    return b"avif" if kind == b"av01" else b"heic"


def _infe(number: int, kind: bytes) -> bytes:
    return full(b"infe", 3, struct.pack(">IH", number, 0), kind, b"\0", flags=0 if kind == b"grid" else 1)


def _place(number: int, start: int, length: int) -> bytes:
    return struct.pack(">IHHHII", number, 0, 0, 1, start, length)


def _ispe(side: int) -> bytes:
    return full(b"ispe", 0, struct.pack(">II", side, side))


def _property(coded: bytes, kind: bytes) -> bytes:
    at = coded.index(kind) - 4
    return coded[at : at + int.from_bytes(coded[at : at + 4], "big")]


def _content(coded: bytes) -> bytes:
    """Return the coded picture of a file of one: what its largest item is."""
    at = coded.index(b"mdat") + 4
    return coded[at:]
