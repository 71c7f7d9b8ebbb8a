from __future__ import annotations

import io
import struct

import pytest

from benchmarks.faults import telltale as samples
from mediasearch.exceptions import Withheld
from mediasearch.features.disclosure import bmp


def saved(mode: str = "RGB") -> bytes:
    stream = io.BytesIO()
    samples.pixels().convert(mode).save(stream, "BMP")
    return stream.getvalue()


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA"])
def test_cleared__ends_with_the_pixels(mode: str) -> None:
    assert bmp.cleared(saved(mode) + b"52 N") == saved(mode)


def test_cleared__ends_with_the_pixels_where_their_start_is_named_wrong() -> None:
    data = bytearray(saved("P"))
    struct.pack_into("<I", data, 10, 54)
    assert bmp.cleared(bytes(data)) == bytes(data)


def test_cleared__keeps_a_profile() -> None:
    """A header of the fifth version, and the profile after the pixels and something else."""
    pixels = bytes(4 * 10)
    header = (
        struct.pack("<IiiHHIIiiII", 124, 1, 10, 1, 32, 0, 0, 0, 0, 0, 0) + bytes(16) + b"DEBM" + bytes(124 - 60 - 12)
    )
    header += struct.pack("<III", 124 + len(pixels) + 4, 7, 0)
    data = b"BM" + struct.pack("<IHHI", 0, 0, 0, 14 + 124) + header + pixels
    assert bmp.cleared(data + b"52 N" + b"profile" + b"52 N") == data + bytes(4) + b"profile"


@pytest.mark.parametrize("change", [(10, 5_000), (18, 60_000), (30, 4), (30, 1)])
def test_cleared__of_pixels_that_can_not_be_told_is_withheld(change: tuple[int, int]) -> None:
    """Pixels far off, wider than the file, embedded, or of run lengths whose size is not said."""
    data = bytearray(saved())
    struct.pack_into("<I", data, change[0], change[1])
    struct.pack_into("<I", data, 34, 0)
    with pytest.raises(Withheld):
        bmp.cleared(bytes(data))
