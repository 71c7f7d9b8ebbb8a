"""A picture's file with only what may leave with it, whatever its format."""

from __future__ import annotations

from collections.abc import Callable

from mediasearch.exceptions import Withheld
from mediasearch.features.disclosure import bmp, boxes, gif, jpeg, png, tiff, webp


def _tiff(data: bytes) -> bytes:
    return tiff.cleared(data, jpeg.strip)


_FORMATS: tuple[tuple[Callable[[bytes], bool], Callable[[bytes], bytes]], ...] = (
    (lambda data: data.startswith(jpeg.SIGNATURE), jpeg.cleared),
    (lambda data: data.startswith(png.SIGNATURE), png.cleared),
    (webp.is_webp, webp.cleared),
    (boxes.is_heif, boxes.cleared),
    (lambda data: data.startswith(tiff.SIGNATURES), _tiff),
    (lambda data: data.startswith(gif.SIGNATURES), gif.cleared),
    (lambda data: data.startswith(bmp.SIGNATURE), bmp.cleared),
)
"""How each format is told, and what clears it."""


def cleared(data: bytes) -> bytes:
    """Return a picture's file with only what `allowed` names; its pixels are not decoded, and stay bit for bit.

    Raises Withheld where that can't be said of the file: of an unknown format, or
    damaged.
    """
    clear = next((clear for is_format, clear in _FORMATS if is_format(data)), None)
    if clear is None:
        raise Withheld("This file is of no format whose metadata can be told from its picture.")
    try:
        return clear(data)
    except Withheld:
        raise
    except Exception as error:  # Part of opening an untrusted file: parsers fail in many ways.
        raise Withheld(f"This file is damaged ({type(error).__name__}).") from error
