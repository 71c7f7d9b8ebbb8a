"""How a file is built, counted before anything is decoded: what takes time beyond its pixels.

A JPEG is decoded once for each of its scans, a PNG's chunks are read one by one, an AVIF's items are looked for in a
list: a small file of many parts takes minutes. Counting reads lengths and markers alone, and stops where there are too
many, so that it takes milliseconds. Each limit lies where opening takes more than a second on a fast machine; what is
within all of them may still be slow, and is ended by the sandbox's clock.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import import_module

from mediasearch.exceptions import ImageTooComplex
from mediasearch.features.structure.counting import PIXELS, Count


def check(data: bytes, max_pixels: int = PIXELS) -> None:
    """Return if a file has few enough parts, or is of a format of which none are counted. Raises ImageTooComplex."""
    name = form(data)
    for count in _counts(name, data, max_pixels) if name else ():
        if count.number > count.most:
            raise ImageTooComplex(
                f"This {name} has {_said(count)} {count.parts}; at most {count.most:,} are accepted"
                f"{' at its size' if count.parts == 'scans' else ''}. Save it anew."
            )


def form(data: bytes) -> str:
    """Return what a file is by its first bytes; empty where it is nothing of which parts are counted."""
    return next((name for name, signature in _SIGNATURES.items() if signature.match(data)), "")


def _counts(name: str, data: bytes, max_pixels: int) -> Iterator[Count]:
    # A child that was just started has the module of the format at hand to load, and no others.
    counts: Iterator[Count] = import_module(f"{__name__}.{_MODULES[name]}").counts(data, max_pixels)
    return counts


def _said(count: Count) -> str:
    return f"{count.number:,}" if count.parts == "scans" else f"more than {count.most:,}"


_MODULES = {"JPEG": "jpeg", "PNG": "png", "GIF": "gif", "TIFF": "tiff", "AVIF or HEIC": "boxes"}
"""What counts the parts of each format. Of WebP and BMP, nothing that a file can have many of costs time."""
_SIGNATURES: dict[str, re.Pattern[bytes]] = {
    "JPEG": re.compile(rb"\xff\xd8\xff"),
    "PNG": re.compile(rb"\x89PNG\r\n\x1a\n"),
    "GIF": re.compile(rb"GIF8[79]a"),
    "TIFF": re.compile(rb"II[*+]\0|II\0[*+]|MM\0[*+]|MM[*+]\0"),
    "AVIF or HEIC": re.compile(rb"....ftyp", re.DOTALL),
}
