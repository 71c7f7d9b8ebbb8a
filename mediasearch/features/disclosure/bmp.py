"""BMP files, which have no metadata; what follows the pixels is cut off."""

from __future__ import annotations

import struct

SIGNATURE = b"BM"
_OLD_HEADER = 12


def cleared(data: bytes) -> bytes:
    """Return a BMP up to the end that it names, or that its size gives where that is later."""
    size, pixels, header = struct.unpack_from("<I4xII", data, 2)
    form = "<HH2xH" if header == _OLD_HEADER else "<ii2xH"
    width, height, bits = struct.unpack_from(form, data, 18)
    rows = abs(height) * ((abs(width) * bits + 31) // 32 * 4)
    return data[: max(size, pixels + rows)]
