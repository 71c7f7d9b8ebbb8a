"""Which picture a file holds, by its first bytes: nothing is decoded, so any process may look."""

from __future__ import annotations

import re

HEAD = 64
"""Bytes of a file's start that are looked at."""
EXTENSIONS = {
    "image/jpeg": ".jpg",
    "image/png": ".png",
    "image/gif": ".gif",
    "image/webp": ".webp",
    "image/avif": ".avif",
    "image/tiff": ".tif",
    "image/bmp": ".bmp",
    "image/heic": ".heic",
}
INERT = ".bin"
"""Of what is no picture: no server gives it a type that a browser would run."""
_SIGNATURES = {
    "image/jpeg": rb"\xff\xd8\xff",
    "image/png": rb"\x89PNG\r\n\x1a\n",
    "image/gif": rb"GIF8[79]a",
    "image/webp": rb"RIFF.{4}WEBP",
    # ISO 14496-12: a box `ftyp` names the file's main brand, a version, and the brands that it also is.
    "image/avif": rb".{4}ftyp(?:.{4})*?avi[fs]",
    "image/heic": rb".{4}ftyp(?:.{4})*?(?:he[iv][cxms]|m[is]f1)",
    "image/tiff": rb"II[*+]\0|MM\0[*+]|MM\*\0|II\0\*",
    "image/bmp": rb"BM",
}
_PATTERNS = {mime_type: re.compile(signature, re.DOTALL) for mime_type, signature in _SIGNATURES.items()}


def mime_type(head: bytes) -> str:
    """Return the media type that a file's first bytes call for, "" where they are no picture's."""
    return next((name for name, pattern in _PATTERNS.items() if pattern.match(head[:HEAD])), "")


def extension(kind: str) -> str:
    """Return the extension that files of a media type get."""
    return EXTENSIONS.get(kind, INERT)
