from __future__ import annotations

import io

import pytest
from PIL import Image

from benchmarks.faults import judges
from benchmarks.faults import telltale as samples
from benchmarks.faults.telltale import segment, with_segments
from mediasearch.exceptions import Withheld
from mediasearch.features.disclosure import jpeg


def plain() -> bytes:
    stream = io.BytesIO()
    samples.pixels().save(stream, "JPEG")
    return stream.getvalue()


def test_cleared__changes_nothing_where_nothing_is_said() -> None:
    assert jpeg.cleared(plain()) == plain()


@pytest.mark.parametrize(
    "private",
    [
        segment(0xFE, b"52 N"), segment(0xE1, b"52 N"), segment(0xE1, b"Exif\0\0" + b"52 N"), segment(0xEB, b"52 N"),
        segment(0xE0, b"JFXX\0\x10" + b"52 N"), segment(0xE2, b"FPXR\0" + b"52 N"), segment(0xED, b"52 N"),
        segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + b"52 N"), segment(0xED, b"Photoshop 3.0\x00" + b"52 N"),
    ],
    ids=lambda private: private[:10].hex(),
)  # fmt: skip
def test_cleared__makes_zeros_of_other_segments(private: bytes) -> None:
    data = with_segments(plain(), private)
    left = jpeg.cleared(data)
    assert left == data.replace(private, private[:4].ljust(len(private), b"\0"))


def test_cleared__keeps_what_the_colours_are_read_with() -> None:
    stream = io.BytesIO()
    samples.pixels().convert("CMYK").save(stream, "JPEG")
    assert b"Adobe" in jpeg.cleared(stream.getvalue())
    assert jpeg.cleared(stream.getvalue()) == stream.getvalue()


def test_cleared__has_no_thumbnail_in_its_first_segment() -> None:
    private = segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\1\1" + b"\x52\x52\x52")
    left = jpeg.cleared(with_segments(plain(), private))
    assert b"\x52\x52\x52" not in left[:40]
    assert private[:16] in left


def test_cleared__of_bytes_between_segments_are_fill_bytes() -> None:
    data = plain()
    left = jpeg.cleared(data[:2] + b"52 N\xff" + data[2:])
    assert left == data[:2] + b"\xff" * 5 + data[2:]
    assert list(judges.frames(left)) == list(judges.frames(data))


@pytest.mark.parametrize("kind", [0x02, 0xF7, 0xC8])
def test_cleared__of_unknown_segments_is_withheld(kind: int) -> None:
    with pytest.raises(Withheld, match="unknown kind"):
        jpeg.cleared(with_segments(plain(), segment(kind, b"52 N")))


def test_cleared__without_an_end_is_withheld() -> None:
    with pytest.raises(Withheld, match="no end"):
        jpeg.cleared(plain()[:-2] + b"52 N")


def test_cleared__keeps_further_pictures_and_clears_them() -> None:
    data = samples.FORMATS["jpeg-multi-picture"]()
    left = jpeg.cleared(data + b"52 N")
    assert len(left) == len(data)
    with Image.open(io.BytesIO(left)) as image:
        assert image.n_frames == 2
    assert b"52 N" not in left
    assert left.count(b"\xff\xd8\xff") == 2


def test_cleared__is_bounded() -> None:
    with pytest.raises(Withheld, match="too many"):
        jpeg.cleared(b"\xff\xd8" + segment(0xFE, b"") * 100_001 + plain()[2:])


def test_strip__keeps_its_length() -> None:
    data = with_segments(plain(), segment(0xFE, b"52 N")) + b"52 N"
    assert len(jpeg.strip(data)) == len(data)
    assert b"52 N" not in jpeg.strip(data)
