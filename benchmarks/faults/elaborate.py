"""Files that take long to open for what they are: built of many parts, by a few parameters, in milliseconds or so.

What takes an encoder long is made once and small, and repeated in the file: scans, chunks, blocks, strips, tiles.
"""

from __future__ import annotations

import io
import random
import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from benchmarks.faults.boxes import grid
from benchmarks.faults.made import chunk

Value = int | str | bool
LARGEST = 50_000_000
LONGEST_SIDE = 7_071
"""Of a square picture, within MAX_PIXELS."""


@dataclass(frozen=True, slots=True)
class Format:
    """How files of a format are made, and the values that each parameter may have, the plainest first."""

    make: Callable[..., bytes]
    values: Mapping[str, tuple[Value, ...]]

    def plainest(self) -> dict[str, Value]:
        return {name: values[0] for name, values in self.values.items()}


@lru_cache(2)  # The largest have 200 MB.
def noise(side: int, mode: str, amount: int) -> Any:
    """Return a square picture whose samples differ from grey by up to so much, the same each time."""
    from PIL import Image

    chance = random.Random(side + amount)
    small = Image.frombytes("L", (256, 256), bytes(128 + chance.randint(-amount, amount) for _ in range(256 * 256)))
    whole = Image.new("L", (side, side))
    for at in range(0, side * side, 256 * 256):
        whole.paste(small, (at // 256 % side // 256 * 256, at // (256 * side) // 256 * 256))
    return whole.convert(mode)


@lru_cache(8)
def encoded(form: str, side: int, mode: str, amount: int, **options: Any) -> bytes:
    stream = io.BytesIO()
    noise(side, mode, amount).save(stream, form, **options)
    return stream.getvalue()


def _times(part: bytes, number: int) -> bytes:
    """Return a part so many times. Raises ValueError where a file of it would be larger than any that is looked at."""
    if len(part) * number > LARGEST:
        raise ValueError("This file is too large.")
    return part * number


def jpeg(
    side: int, amount: int, mode: str, subsampling: int, progressive: bool, scan: int, repeats: int, segments: int,
    segment: str,
) -> bytes:  # fmt: skip
    """Repeat one scan of a JPEG, and put segments before them."""
    options = {"subsampling": subsampling} if mode == "RGB" else {}
    plain = encoded("JPEG", side, mode, amount, quality=75, progressive=progressive, **options)
    at, starts = 0, []
    while (at := plain.find(b"\xff\xda", at)) >= 0:
        starts.append(at)
        at += 2
    end = len(plain) - 2
    start = starts[scan % len(starts)]
    stop = next((at for at in [*_tables(plain, start), *starts, end] if at > start), end)
    repeated = _times(plain[start:stop], repeats - 1)
    filler = {"COM": b"\xff\xfe\0\2", "EXIF": b"\xff\xe1\0\x0eExif\0\0MM\0*\0\0"}.get(segment, b"\1\1\1\1")
    return plain[:20] + filler * segments + plain[20:stop] + repeated + plain[stop:]


def _tables(plain: bytes, start: int) -> list[int]:
    """Return where the next tables stand, which belong to the scan after them."""
    at = plain.find(b"\xff\xc4", start)
    return [at] if at >= 0 else []


def png(
    side: int, depth: int, colour: int, row_filter: int, interlaced: bool, chunks: int, kind: str, piece: int
) -> bytes:
    """A PNG of one colour, its pixels in pieces of so many bytes, with chunks before them."""
    header = struct.pack(">IIBBBBB", side, side, depth, colour, 0, 0, int(interlaced))
    packed = _packed_rows(side, depth, colour, row_filter, interlaced)
    pieces = b"".join(chunk(b"IDAT", packed[at : at + piece]) for at in range(0, len(packed), piece))
    content = {
        "iCCP": b"p\0\0" + zlib.compress(bytes(990_000), 9), "zTXt": b"c\0\0" + zlib.compress(bytes(990_000), 9),
        "tEXt": b"c\0x", "eXIf": b"MM\0*\0\0\0\x08\0\0\0\0\0\0", "prIv": b"",
    }  # fmt: skip
    extra = _times(chunk(kind.encode(), content[kind]), chunks)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + pieces + chunk(b"IEND", b"")


@lru_cache(8)
def _packed_rows(side: int, depth: int, colour: int, row_filter: int, interlaced: bool) -> bytes:
    bits = depth * {0: 1, 2: 3, 4: 2, 6: 4}[colour]
    passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    packer = zlib.compressobj(6)
    packed = b""
    for left, top, across, down in passes if interlaced else [(0, 0, 1, 1)]:
        columns, rows = -(-(side - left) // across), -(-(side - top) // down)
        row = bytes([row_filter]) + bytes((columns * bits + 7) // 8)
        packed += b"".join(packer.compress(row) for _ in range(rows))
    return packed + packer.flush()


def gif(side: int, amount: int, blocks: int, block: str, piece: int, frames: int) -> bytes:
    """A GIF with blocks before its pixels, whose own blocks have so many bytes; further frames follow."""
    plain = encoded("GIF", side, "L", amount)
    at = 13 + (3 << (plain[10] & 7) + 1 if plain[10] & 0x80 else 0)
    while plain[at] == ord("!"):
        at = _after_blocks(plain, at + 2)
    head, descriptor = plain[:at], plain[at : at + 10]
    table = 3 << (descriptor[9] & 7) + 1 if descriptor[9] & 0x80 else 0
    descriptor = plain[at : at + 11 + table]
    codes, place = b"", at + len(descriptor)
    while plain[place]:
        codes += plain[place + 1 : place + 1 + plain[place]]
        place += 1 + plain[place]
    pixels = b"".join(
        bytes([len(codes[at : at + piece])]) + codes[at : at + piece] for at in range(0, len(codes), piece)
    )
    filler = {"comment": b"!\xfe" + b"\x01x" * blocks + b"\0", "comments": b"!\xfe\0" * blocks, "stray": b"\1" * blocks}
    picture = descriptor + pixels + b"\0"
    return head + filler[block] + _times(picture, frames) + b";"


def _after_blocks(plain: bytes, at: int) -> int:
    while plain[at]:
        at += 1 + plain[at]
    return at + 1


_TIFF_CODES = {
    "raw": 1,
    "tiff_lzw": 5,
    "tiff_adobe_deflate": 8,
    "jpeg": 7,
    "packbits": 32773,
    "zstd": 50000,
    "lzma": 34925,
}


def tiff(
    side: int, amount: int, mode: str, compression: str, rows: int, tiled: bool, entries: int, repeats: int
) -> bytes:
    """A TIFF whose strips, or tiles, are all the same bytes of the file, with entries that say nothing."""
    height = min(rows, side)
    width = height = max(16, height // 16 * 16) if tiled else height
    width = width if tiled else side
    content = _strip(width, height, amount, mode, compression, repeats)
    across, down = (-(-side // width), -(-side // height)) if tiled else (1, -(-side // height))
    strips = across * down
    bands = {"L": 1, "RGB": 3, "RGBA": 4, "CMYK": 4, "I;16": 1}[mode]
    photometric = {"L": 1, "RGB": 2, "RGBA": 2, "CMYK": 5, "I;16": 1}[mode]
    bits = 16 if mode == "I;16" else 8
    lists = 8 + len(content) + len(content) % 2
    offsets, lengths = struct.pack("<I", 8) * strips, struct.pack("<I", len(content)) * strips
    depths = struct.pack(f"<{bands}H", *[bits] * bands)
    places = [lists, lists + len(offsets), lists + len(offsets) + len(lengths)]
    tags = [
        (256, 4, 1, side), (257, 4, 1, side), (258, 3, bands, places[2] if bands > 2 else bits),
        (259, 3, 1, _TIFF_CODES[compression]), (262, 3, 1, photometric), (277, 3, 1, bands),
        (324 if tiled else 273, 4, strips, places[0] if strips > 1 else 8),
        (325 if tiled else 279, 4, strips, places[1] if strips > 1 else len(content)),
        *([(322, 4, 1, width), (323, 4, 1, height)] if tiled else [(278, 4, 1, height)]),
        *([(338, 3, 1, 2)] if mode == "RGBA" else []),
        *((50_000 + number % 10_000, 4, 1, number) for number in range(entries)),
    ]  # fmt: skip
    tags = sorted(tags)[:65_535]
    body = content + b"\0" * (len(content) % 2) + offsets + lengths + depths
    directory = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags) + bytes(4)
    return b"II*\0" + struct.pack("<I", 8 + len(body)) + body + directory


@lru_cache(8)
def _strip(width: int, height: int, amount: int, mode: str, compression: str, repeats: int) -> bytes:
    """Return the packed pixels of a strip; of a JPEG, its last scan so many times."""
    from PIL import Image

    band = noise(max(width, height), "L" if mode == "I;16" else mode, amount).crop((0, 0, width, height))
    if mode == "I;16":
        band = Image.frombytes("I;16", (width, height), bytes(2 * width * height))
    if compression == "raw":
        return bytes(band.tobytes())
    stream = io.BytesIO()
    if compression == "jpeg":
        band.save(stream, "JPEG", progressive=True, **({"subsampling": 0} if mode == "RGB" else {}))
        plain = stream.getvalue()
        last = plain.rindex(b"\xff\xda")
        return plain[:-2] + _times(plain[last:-2], repeats - 1) + plain[-2:]
    band.save(stream, "TIFF", compression=compression, tiffinfo={278: height})
    stream.seek(0)
    with Image.open(stream) as saved:
        (start,), (length,) = saved.tag_v2[273], saved.tag_v2[279]
    return stream.getvalue()[start : start + length]


def webp(
    side: int, amount: int, mode: str, lossless: bool, method: int, quality: int, frames: int, chunks: int
) -> bytes:
    """A WebP, animated with further frames of its own, and with chunks that say nothing."""
    options = {"lossless": lossless, "method": method, "quality": quality}
    plain = encoded("WEBP", side, mode, amount, **options)
    if frames == 1 and not chunks:
        return plain
    size = struct.pack("<I", side - 1)[:3]
    body, flags = plain[12:], 0x10 if mode == "RGBA" else 0
    if body.startswith(b"VP8X"):
        body = body[18:]
    unknown = b"abcd\0\0\0\0" * chunks
    if frames > 1:
        frame = bytes(6) + size + size + bytes(4) + body
        body = (
            b"ANIM" + struct.pack("<I", 6) + bytes(6) + _times(b"ANMF" + struct.pack("<I", len(frame)) + frame, frames)
        )
        flags |= 2
    body = b"WEBPVP8X" + struct.pack("<II", 10, flags) + size + size + body + unknown
    return b"RIFF" + struct.pack("<I", len(body)) + body


def avif(tile: int, amount: int, quality: int, across: int, items: int, subsampling: str) -> bytes:
    """An AVIF of tiles that are all the same bytes of the file, with items that belong to nothing."""
    coded = encoded("AVIF", tile, "RGB", amount, quality=quality, speed=8, subsampling=subsampling)
    return grid(coded, b"av01", b"av1C", tile, min(across, LONGEST_SIDE // tile), items)


def heic(tile: int, amount: int, quality: int, across: int, items: int) -> bytes:
    """The same as HEIC."""
    import pillow_heif

    pillow_heif.register_heif_opener()
    coded = encoded("HEIF", tile, "RGB", amount, quality=quality)
    return grid(coded, b"hvc1", b"hvcC", tile, min(across, LONGEST_SIDE // tile), items)


def bmp(side: int, operation: str, run: int) -> bytes:
    """A BMP whose rows are packed by one operation, again and again; or are not packed."""
    if operation == "none":
        return encoded("BMP", side, "L", 0)
    bits = 4 if operation.endswith("4") else 8
    unit = {
        "run": bytes([run, 0x12]), "line": b"\x01\x01\0\0", "jump": b"\0\2\0\1",
        "absolute": bytes([0, max(3, run)]) + bytes((max(3, run) * bits // 8 + 1) // 2 * 2),
    }[operation[:-1]]  # fmt: skip
    pixels = {"run": run, "line": side, "jump": side, "absolute": max(3, run)}[operation[:-1]]
    packed = unit * (side * side // pixels + side) + b"\0\1"
    table = bytes(4 << bits)
    head = struct.pack("<IiiHHIIiiII", 40, side, side, 1, bits, 2 if bits == 4 else 1, len(packed), 0, 0, 0, 0)
    start = 14 + len(head) + len(table)
    return b"BM" + struct.pack("<IHHI", start + len(packed), 0, 0, start) + head + table + packed


_SIDES = (1_000, 64, 300, 3_000, 5_000, LONGEST_SIDE)
_AMOUNTS = (0, 1, 4, 16, 64)
_TIMES = (1, 10, 100, 1_000, 10_000)
FORMATS: dict[str, Format] = {
    "JPEG": Format(jpeg, {
        "side": _SIDES, "amount": _AMOUNTS, "mode": ("RGB", "L", "CMYK"), "subsampling": (2, 0),
        "progressive": (False, True), "scan": (-1, 0, 1, 2, 3, 4, 5, 6), "repeats": _TIMES,
        "segments": (0, 1_000, 20_000, 70_000, 250_000), "segment": ("COM", "EXIF", "stray"),
    }),
    "PNG": Format(png, {
        "side": _SIDES, "depth": (8, 16), "colour": (2, 0, 4, 6), "row_filter": (0, 1, 2, 3, 4),
        "interlaced": (False, True), "chunks": (0, 100, 1_000, 10_000, 70_000),
        "kind": ("tEXt", "zTXt", "iCCP", "eXIf", "prIv"), "piece": (65_536, 1, 10, 1_000),
    }),
    "GIF": Format(gif, {
        "side": _SIDES, "amount": _AMOUNTS, "blocks": (0, 1_000, 100_000, 450_000),
        "block": ("comment", "comments", "stray"), "piece": (255, 1, 10), "frames": (1, 10, 1_000),
    }),
    "TIFF": Format(tiff, {
        "side": _SIDES, "amount": _AMOUNTS, "mode": ("RGB", "L", "RGBA", "CMYK", "I;16"),
        "compression": tuple(_TIFF_CODES), "rows": (64, 1, 16, 1_000, LONGEST_SIDE), "tiled": (False, True),
        "entries": (0, 1_000, 60_000), "repeats": (1, 10, 40, 85),
    }),
    "WebP": Format(webp, {
        "side": (1_000, 64, 300, 3_000, 5_000), "amount": _AMOUNTS, "mode": ("RGB", "RGBA"), "lossless": (False, True),
        "method": (0, 4), "quality": (75, 0, 100), "frames": (1, 10, 1_000), "chunks": (0, 1_000, 100_000),
    }),
    "AVIF": Format(avif, {
        "tile": (256, 64, 512, 1_024), "amount": _AMOUNTS, "quality": (75, 30, 100), "across": (1, 2, 8, 16, 27, 110),
        "items": (0, 1_000, 10_000, 30_000), "subsampling": ("4:2:0", "4:4:4"),
    }),
    "HEIC": Format(heic, {
        "tile": (256, 64, 512, 1_024), "amount": _AMOUNTS, "quality": (75, 30, 100), "across": (1, 2, 8, 16, 27, 110),
        "items": (0, 500, 10_000),
    }),
    "BMP": Format(bmp, {
        "side": _SIDES, "run": (255, 1, 2, 3, 16),
        "operation": ("none", "run8", "run4", "line8", "line4", "jump8", "jump4", "absolute8", "absolute4"),
    }),
}  # fmt: skip
"""Each format with what is tried of it. What comes out larger than is looked for, or is no picture, is passed over."""
