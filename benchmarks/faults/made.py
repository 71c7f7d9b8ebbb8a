"""Hostile files that are made here, for where no corpus is at hand: small, and each wrong in a way of its own."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from typing import Any

SVG = b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"><script>alert(2)</script></svg>'
XXE = b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><svg>&e;</svg>'
NAMES = (
    "../../etc/passwd.png", "..\\..\\win.ini.png", "<img src=x onerror=alert(1)>.png", "\u202egnp.exe", "-rf.png",
    "a\x00b.png", "line\r\nbreak: yes.png", 'quote".png', "%2e%2e%2fx.png", "name.png.php", ".png", "CON.png",
    "x" * 300 + ".png", "图" * 200 + ".png", "图片 🚲.png", "{{ 7*7 }}{% debug %}.png",
)  # fmt: skip
"""Names that an upload may bear; each is given to the same good picture."""


def files(*, large: bool = False) -> dict[str, bytes]:
    """Return files by name; with `large`, also those that are as large as is allowed, and take a second each."""
    return {name: make() for name, make in {**_SMALL, **(_LARGE if large else {})}.items()}


def saved(form: str, size: tuple[int, int] = (400, 300), mode: str = "RGB", inks: Any = None, **options: Any) -> bytes:
    """Return a picture of two colours, as a file."""
    from PIL import Image

    ink, paper = inks or _INKS.get(mode, (0, 1))
    image = Image.new(mode, size, ink)
    image.paste(paper, (0, 0, size[0] // 2, size[1] // 2))
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


_INKS: dict[str, Any] = {
    "RGB": ((200, 30, 30), (250, 250, 250)),
    "RGBA": ((200, 30, 30, 90), (0, 0, 0, 0)),
    "CMYK": ((0, 200, 200, 0), (0, 0, 0, 0)),
    "L": (90, 250),
}


def png(width: int, height: int, depth: int = 8, colour: int = 2, extra: bytes = b"", rows: int | None = None) -> bytes:
    """Return a PNG of one colour, with chunks before its pixels; with `rows`, only so many of its rows are there."""
    samples = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    row = bytes((width * depth * samples + 7) // 8 + 1)
    packer = zlib.compressobj(9)
    packed = b"".join(packer.compress(row) for _ in range(height if rows is None else rows)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"".join([b"\x89PNG\r\n\x1a\n", chunk(b"IHDR", header), extra, chunk(b"IDAT", packed), chunk(b"IEND", b"")])


def chunk(kind: bytes, data: bytes) -> bytes:
    """Return a chunk of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _packed(size: int) -> bytes:
    return zlib.compress(bytes(size), 9)


def _exif(description: str, taken: str = "", offset: str = "") -> bytes:
    from PIL import Image

    exif = Image.Exif()
    exif[0x010E] = description
    exif.get_ifd(0x8769).update({0x9003: taken, 0x9011: offset})
    return saved("JPEG", exif=exif)


def _deep(levels: int) -> bytes:
    return b"<x:xmpmeta xmlns:x='adobe:ns:meta/'>" + b"<a>" * levels + b"</a>" * levels + b"</x:xmpmeta>"


def _circular_tiff() -> bytes:
    """A TIFF whose directory names itself as the next."""
    entry = struct.pack("<HHII", 256, 4, 1, 8)
    return b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", 1) + entry + struct.pack("<I", 8)


def _endless_strips() -> bytes:
    """A TIFF with more strips than the file has bytes."""
    tags = [(256, 4, 1, 64), (257, 4, 1, 64), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 2**30, 8)]
    body = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    return b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", len(tags)) + body + bytes(4)


_SMALL: dict[str, Callable[[], bytes]] = {
    "good.jpg": lambda: saved("JPEG"),
    "empty.jpg": lambda: b"",
    "words.png": lambda: b"This is not a picture.",
    "page.html.png": lambda: b"<html><script>alert(1)</script></html>",
    "drawing.svg": lambda: SVG,
    "drawing.png": lambda: SVG,
    "entity.png": lambda: XXE,
    "paper.pdf": lambda: b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj",
    "archive.jpg": lambda: b"PK\x03\x04" + bytes(60),
    "film.avif": lambda: b"\0\0\0\x18ftypisom\0\0\x02\0isomiso2",
    "photoshop.jpg": lambda: b"8BPS\0\x01" + bytes(40),
    "postscript.jpg": lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n(/etc/passwd) (r) file",
    "header-only.avif": lambda: b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf",
    "cut.jpg": lambda: saved("JPEG", (900, 700))[:-600],
    "cut.png": lambda: saved("PNG", (900, 700))[:-30],
    "cut.webp": lambda: saved("WEBP", (900, 700))[:-60],
    "half-of-its-rows.png": lambda: png(500, 400, rows=200),
    "wrong-sum.png": lambda: saved("PNG").replace(b"IDAT", b"IDAQ", 1),
    "claims-10000-megapixels.png": lambda: png(100_000, 100_000, rows=0),
    "claims-60-megapixels.png": lambda: png(8_000, 7_500, rows=0),
    "too-long.png": lambda: png(100_000, 2, 8, 0),
    "long.png": lambda: png(60_000, 2, 8, 0),
    "text-bomb.png": lambda: png(64, 64, extra=chunk(b"zTXt", b"Comment\0\0" + _packed(90_000_000))),
    "profile-bomb.png": lambda: png(64, 64, extra=chunk(b"iCCP", b"p\0\0" + _packed(90_000_000))),
    "huge-canvas.gif": lambda: saved("GIF", (64, 64), "L").replace(b"@\0@\0", b"\xff\xff\xff\xff", 1),
    "year-1.jpg": lambda: _exif("x", "0001:01:01 00:00:00", "+14:00"),
    "year-9999.jpg": lambda: _exif("\x01\x02", "9999:12:31 23:59:59", "-12:00"),
    "script-in-exif.jpg": lambda: _exif("<script>alert(1)</script>"),
    "deep-xmp.webp": lambda: saved("WEBP", xmp=_deep(20_000)),
    "damaged-exif.jpg": lambda: saved("JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff" + bytes(40)),
    "circular.tif": _circular_tiff,
    "endless-strips.tif": _endless_strips,
    "upside-down.bmp": lambda: saved("BMP").replace(struct.pack("<i", 300), struct.pack("<i", -(2**31)), 1),
    "deep.png": lambda: png(300, 200, 16, 0),
    "ink.jpg": lambda: saved("JPEG", mode="CMYK"),
    "glass.png": lambda: saved("PNG", mode="RGBA"),
    "script.gif": lambda: saved("GIF", (16, 16), "L")+ b"=1;alert(1)//",
    "page.jpg": lambda: saved("JPEG") + b"<html><script>alert(1)</script></html>",
    "one.png": lambda: png(1, 1),
}  # fmt: skip
_LARGE: dict[str, Callable[[], bytes]] = {
    "50-megapixels-of-glass.png": lambda: png(7_000, 7_100, 8, 6),
    "50-megapixels-of-16-bits.png": lambda: png(7_000, 7_100, 16, 6),
    "50-megapixels-of-grey.png": lambda: png(7_000, 7_100, 16, 0),
    "50-megapixels.jpg": lambda: saved("JPEG", (7_000, 7_100), progressive=True),
    "50-megapixels.webp": lambda: saved("WEBP", (7_000, 7_100), "RGBA", lossless=True, method=0),
    "50-megapixels.avif": lambda: saved("AVIF", (7_000, 7_100), speed=10),
    "50-megapixels.tif": lambda: saved("TIFF", (7_000, 7_100), "1", compression="group4"),
    "50-megapixels.gif": lambda: saved("GIF", (7_000, 7_100), "L"),
    "49-megapixels-in-a-strip.png": lambda: png(65_000, 750),
}
