from __future__ import annotations

import struct
from collections.abc import Sequence

import pytest
from PIL import Image

from benchmarks.faults import telltale as samples
from mediasearch.exceptions import Withheld
from mediasearch.features.disclosure import tiff

Line = tuple[int, int, int, int]
"""Tag, type, count, and the value or where it is."""


def directory(lines: Sequence[Line], following: int = 0) -> bytes:
    return (
        struct.pack("<H", len(lines)) + b"".join(struct.pack("<HHII", *x) for x in lines) + struct.pack("<I", following)
    )


def structure(*lines: Line, after: bytes = b"", following: int = 0) -> bytes:
    """A little-endian structure with one directory at 8, and what stands after it."""
    return b"II*\0\x08\0\0\0" + directory(lines, following) + after


def read(block: bytes) -> Image.Exif:
    exif = Image.Exif()
    exif.load(b"Exif\0\0" + block)
    return exif


ORIENTATION = (0x112, 3, 1, 6)


@pytest.mark.parametrize("order", ["<", ">"])
def test_exif__keeps_what_is_allowed_where_it_was(order: str) -> None:
    block = samples.exif(order)
    left = tiff.exif(block)
    assert len(left) == len(block)
    assert read(left)[0x13B] == samples.BYLINE
    assert read(left)[0x112] == samples.ORIENTATION
    assert dict(read(left).get_ifd(0x8825)) == {}
    assert set(read(left).get_ifd(0x8769)) == {0x9003, 0x829A, 0xA434}
    assert block.index(samples.BYLINE.encode()) == left.index(samples.BYLINE.encode())


def test_exif__leaves_no_thumbnail() -> None:
    block = structure(ORIENTATION, following=26, after=directory([(0x103, 3, 1, 6)]) + b"preview")
    assert tiff.exif(block) == structure(ORIENTATION).ljust(len(block), b"\0")


def test_exif__leaves_out_what_lies_outside_and_keeps_the_rest() -> None:
    left = tiff.exif(structure((0x13B, 2, 900, 40), (0x8298, 99, 1, 1), ORIENTATION, (0x10F, 2, 2**32 - 1, 1)))
    assert dict(read(left)) == {0x112: 6}


def test_exif__of_parts_across_each_other_keeps_the_orientation() -> None:
    """An artist's name that is said to be where a serial number is."""
    block = structure(ORIENTATION, (0x13B, 2, 9, 52), (0x13C, 2, 9, 50), after=b"SN471108150")
    left = tiff.exif(block)
    assert dict(read(left)) == {0x112: 6}
    assert left[50:] == bytes(11)


@pytest.mark.parametrize("missing", range(5))
def test_exif__without_its_last_number_keeps_its_length(missing: int) -> None:
    whole = structure(ORIENTATION, (0x128, 3, 1, 2))
    block = whole[: len(whole) - missing]
    assert tiff.exif(block) == block


def test_exif__of_two_entries_with_a_tag_keeps_the_first() -> None:
    assert dict(read(tiff.exif(structure(ORIENTATION, (0x112, 3, 1, 3))))) == {0x112: 6}


def test_exif__leaves_nothing_of_a_directory_that_goes() -> None:
    gps = directory([(1, 2, 2, ord("N")), (2, 1, 4, 52)])
    left = tiff.exif(structure(ORIENTATION, (0x13B, 2, len(gps), 50), (0x8825, 4, 1, 50), after=gps))
    assert left[50:] == bytes(len(gps))


def test_exif__value_across_a_directory_brings_nothing_back() -> None:
    block = structure(ORIENTATION, (0x13C, 2, 4, int.from_bytes(b"host", "little")), (0x13B, 2, 60, 0))
    assert b"host" not in tiff.exif(block)


@pytest.mark.parametrize("block", [b"", b"II*\0", b"II*\0\x07\0\0\0", b"XX*\0\x08\0\0\0\0\0\0\0\0\0", bytes(200)])
def test_exif__of_what_is_none(block: bytes) -> None:
    assert tiff.exif(block) == b""


def page(*lines: Line, pixels: int = 100) -> bytes:
    """A file of one page, whose pixels are its last bytes."""
    start = 8 + 6 + 12 * (len(lines) + 2)
    strip = ((0x111, 4, 1, start), (0x117, 4, 1, pixels))
    return structure(*lines, *strip, after=b"\x55" * pixels)


def test_cleared__keeps_pixels_and_ends_with_them() -> None:
    data = page((0x100, 3, 1, 10), (0x101, 3, 1, 10))
    assert tiff.cleared(data + b"more", bytes) == data + bytes(4)


def test_cleared__leaves_out_directories_of_gps() -> None:
    data = page((0x100, 3, 1, 10), (0x8825, 4, 1, 62 + 12))
    assert 0x8825 not in {tag for (tag,) in struct.iter_unpack("<H10x", tiff.cleared(data[:62], bytes)[10:58])}


@pytest.mark.parametrize(
    "data",
    [
        structure((0x111, 4, 1, 8)),
        structure((0x111, 4, 2, 8), (0x117, 4, 1, 8)),
        structure((0x103, 3, 1, 6), (0x111, 4, 1, 8), (0x117, 4, 1, 8)),
        structure((0x111, 4, 1, 8), (0x117, 4, 1, 8)),
        structure((0x111, 4, 1, 50), (0x117, 4, 1, 30), (0x13C, 2, 30, 50), after=bytes(40)),
    ],
    ids=["no lengths", "too few lengths", "JPEG of the old kind", "pixels across a directory", "pixels across a value"],
)
def test_cleared__of_pixels_that_can_not_be_told_is_withheld(data: bytes) -> None:
    with pytest.raises(Withheld):
        tiff.cleared(data, bytes)


def test_cleared__pages_that_follow_themselves_end() -> None:
    data = structure((0x100, 3, 1, 10), following=8)
    assert tiff.cleared(data, bytes) == data


def test_cleared__is_bounded() -> None:
    """Directories of 20,000 entries at every fourth byte, each following the one before."""
    data = bytearray(b"II*\0\x08\0\0\0" + bytes(300_000))
    for at in range(8, 400, 4):
        struct.pack_into("<H", data, at, 20_000)
        struct.pack_into("<I", data, at + 2 + 12 * 20_000, at + 4)
    with pytest.raises(Withheld, match="too many"):
        tiff.cleared(bytes(data), bytes)


def test_pictures__are_those_of_the_index() -> None:
    entries = struct.pack("<IIIHH", 0, 9, 0, 0, 0) + struct.pack("<IIIHH", 0, 9, 1234, 0, 0)
    assert tiff.pictures(structure((0xB002, 7, 32, 26), after=entries)) == [0, 1234]
    assert tiff.pictures(structure(ORIENTATION)) == []
