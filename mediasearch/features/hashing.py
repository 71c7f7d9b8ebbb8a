"""Fingerprints of a picture: of its bytes, and of what it looks like."""

from __future__ import annotations

import hashlib
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_SIDE, _KEPT = 32, 8


def content_hash(data: bytes) -> str:
    """Return the sha256 of a file, 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def perceptual_hash(image: Image.Image) -> int:
    """Return the 64-bit DCT hash (pHash) as a signed integer; look-alikes differ in few bits.

    Each low-frequency coefficient, the mean brightness left out, against their median, as in Zauner, "Implementation
    and Benchmarking of Perceptual Image Hash Functions" (2010), section 3.2.2.
    """
    pixels = np.asarray(image.convert("L").resize((_SIDE, _SIDE), Image.Resampling.LANCZOS), dtype=np.float64)
    cosines = _cosines()
    low = (cosines @ pixels @ cosines.T)[1 : _KEPT + 1, 1 : _KEPT + 1].ravel()
    bits = low > np.median(low)
    return int.from_bytes(np.packbits(bits).tobytes(), "big", signed=True)


@cache
def _cosines() -> NDArray[np.float64]:
    frequency, position = np.meshgrid(np.arange(_SIDE), np.arange(_SIDE), indexing="ij")
    return np.cos(np.pi * frequency * (2 * position + 1) / (2 * _SIDE))
