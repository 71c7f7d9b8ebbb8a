from __future__ import annotations

import io
import zlib

import pytest
from PIL import Image

from benchmarks.faults import telltale as samples
from benchmarks.faults.telltale import chunk, with_chunks
from mediasearch.exceptions import Withheld
from mediasearch.features.disclosure import png


def plain(**options: object) -> bytes:
    stream = io.BytesIO()
    samples.pixels().save(stream, "PNG", **options)
    return stream.getvalue()


def chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    """The kind and content of each, whose sums are right."""
    at, found = 8, list[tuple[bytes, bytes]]()
    while at < len(data):
        stop = at + 12 + int.from_bytes(data[at : at + 4], "big")
        assert zlib.crc32(data[at + 4 : stop - 4]).to_bytes(4, "big") == data[stop - 4 : stop]
        found.append((data[at + 4 : at + 8], data[at + 8 : stop - 4]))
        at = stop
    return found


def test_cleared__changes_nothing_where_nothing_is_said() -> None:
    assert png.cleared(plain()) == plain()


@pytest.mark.parametrize("name", ["png", "png-magick"])
def test_cleared__has_right_sums(name: str) -> None:
    assert chunks(png.cleared(samples.FORMATS[name]()))[-1] == (b"IEND", b"")


@pytest.mark.parametrize(
    "private",
    [
        chunk(b"tEXt", b"Comment\x0052 N"), chunk(b"tEXt", b"Location\x0052 N"), chunk(b"tEXt", b"52 N"),
        chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(b"\nexif\n 4\n52zz")), chunk(b"prVt", b"52 N"),
        chunk(b"zTXt", b"Raw profile type exif\0\0no stream"), chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\x0052 N"),
        chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(bytes(2_000_000))), chunk(b"eXIf", b"52 N"),
        chunk(b"tEXt", b"Raw profile type xmp\0\nxmp\n 3\n3532"), chunk(b"caBX", b"52 N"), chunk(b"iDOT", b"52 N"),
    ],
    ids=lambda private: private[4:40].decode("latin-1"),
)  # fmt: skip
def test_cleared__leaves_out_other_chunks(private: bytes) -> None:
    assert png.cleared(with_chunks(plain(), private)) == plain()


@pytest.mark.parametrize("keyword", [b"Author", b"Copyright", b"Creation Time", b"License"])
@pytest.mark.parametrize("kind", [b"tEXt", b"zTXt", b"iTXt"])
def test_cleared__keeps_texts_about_who_made_it(keyword: bytes, kind: bytes) -> None:
    data = with_chunks(plain(), chunk(kind, keyword + b"\0whatever"))
    assert png.cleared(data) == data


def test_cleared__blocks_of_imagemagick_stay_readable() -> None:
    with Image.open(io.BytesIO(png.cleared(samples.FORMATS["png-magick"]()))) as image:
        assert image.getexif()[0x13B] == samples.BYLINE
        assert dict(image.getexif().get_ifd(0x8825)) == {}


def test_cleared__of_an_unknown_chunk_that_the_pixels_need_is_withheld() -> None:
    with pytest.raises(Withheld, match="unknown kind"):
        png.cleared(with_chunks(plain(), chunk(b"NEEd", b"")))


def test_cleared__reads_only_so_many_texts() -> None:
    text = chunk(b"tEXt", b"Author\0Ann")
    assert png.cleared(with_chunks(plain(), text * 60)) == with_chunks(plain(), text * 40)


def test_cleared__is_bounded() -> None:
    with pytest.raises(Withheld, match="too many"):
        png.cleared(with_chunks(plain(), chunk(b"prVt", b"") * 100_001))
