from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta, timezone

import pytest
from PIL import Image

from mediasearch.features import metadata

XMP = b"""<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:xmp="http://ns.adobe.com/xap/1.0/"
 xmp:CreateDate="2020-05-06T07:08:09+02:00">
<dc:title><rdf:Alt><rdf:li xml:lang="x-default">Harbour</rdf:li></rdf:Alt></dc:title>
<dc:description><rdf:Alt><rdf:li xml:lang="x-default">Boats at dawn</rdf:li></rdf:Alt></dc:description>
<dc:subject><rdf:Bag><rdf:li>boat</rdf:li><rdf:li>sea</rdf:li><rdf:li>boat</rdf:li></rdf:Bag></dc:subject>
<dc:rights><rdf:Alt><rdf:li xml:lang="x-default">CC0</rdf:li></rdf:Alt></dc:rights>
</rdf:Description></rdf:RDF></x:xmpmeta>"""


def iptc(*records: tuple[int, int, bytes]) -> bytes:
    """A Photoshop segment with IPTC records, as cameras and editors write it into a JPEG."""
    data = b"".join(b"\x1c" + bytes([r, d]) + len(v).to_bytes(2, "big") + v for r, d, v in records)
    block = b"8BIM\x04\x04\0\0" + len(data).to_bytes(4, "big") + data + b"\0" * (len(data) % 2)
    payload = b"Photoshop 3.0\0" + block
    return b"\xff\xed" + (len(payload) + 2).to_bytes(2, "big") + payload


def jpeg(segment: bytes = b"", **options: object) -> Image.Image:
    stream = io.BytesIO()
    Image.new("RGB", (8, 8)).save(stream, "JPEG", **options)  # type: ignore[arg-type]
    data = stream.getvalue()
    return Image.open(io.BytesIO(data[:2] + segment + data[2:]))


def exif(**fields: str) -> Image.Exif:
    block = Image.Exif()
    block[0x010E] = fields.get("description", "")
    block[0x8298] = fields.get("copyright", "")
    details = block.get_ifd(0x8769)
    if "taken" in fields:
        details[0x9003] = fields["taken"]
    if "offset" in fields:
        details[0x9011] = fields["offset"]
    return block


def test_read__xmp() -> None:
    found = metadata.read(jpeg(xmp=XMP))
    assert (found.title, found.caption, found.keywords, found.copyright) == (
        "Harbour",
        "Boats at dawn",
        ("boat", "sea"),
        "CC0",
    )
    assert found.taken_at == datetime(2020, 5, 6, 7, 8, 9, tzinfo=timezone(timedelta(hours=2)))


@pytest.mark.parametrize(("encoding", "record"), [("utf-8", [(1, 90, b"\x1b%G")]), ("latin-1", [])])
def test_read__iptc(encoding: str, record: list[tuple[int, int, bytes]]) -> None:
    segment = iptc(
        *record,
        (2, 5, "Café".encode(encoding)),
        (2, 25, b"boat"),
        (2, 25, "mér".encode(encoding)),
        (2, 120, b"Boats"),
        (2, 116, "© me".encode(encoding)),
    )
    found = metadata.read(jpeg(segment))
    assert (found.title, found.keywords, found.caption, found.copyright) == ("Café", ("boat", "mér"), "Boats", "© me")


def test_read__exif() -> None:
    found = metadata.read(jpeg(exif=exif(description="A boat", copyright="me", taken="2021:02:03 04:05:06")))
    assert (found.caption, found.copyright) == ("A boat", "me")
    assert found.taken_at == datetime(2021, 2, 3, 4, 5, 6, tzinfo=UTC)


def test_read__exif_time_zone() -> None:
    found = metadata.read(jpeg(exif=exif(taken="2021:02:03 04:05:06", offset="+09:00")))
    assert found.taken_at == datetime(2021, 2, 3, 4, 5, 6, tzinfo=timezone(timedelta(hours=9)))


@pytest.mark.parametrize("taken", ["0000:00:00 00:00:00", "yesterday", "2021:13:45 99:99:99"])
def test_read__nonsense_dates_are_left_out(taken: str) -> None:
    assert metadata.read(jpeg(exif=exif(taken=taken))).taken_at is None


@pytest.mark.parametrize(("taken", "offset"), [("0001:01:01 00:00:00", "+14:00"), ("9999:12:31 23:59:59", "-12:00")])
def test_read__dates_that_no_database_gives_back_are_left_out(taken: str, offset: str) -> None:
    assert metadata.read(jpeg(exif=exif(taken=taken, offset=offset))).taken_at is None


def test_read__xmp_of_any_depth_leaves_the_rest() -> None:
    deep = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'>" + b"<a>" * 10_000 + b"</a>" * 10_000 + b"</x:xmpmeta>"
    image = Image.new("RGB", (8, 8))
    stream = io.BytesIO()
    image.save(stream, "WEBP", xmp=deep, exif=exif(description="A boat"))
    assert metadata.read(Image.open(stream)).caption == "A boat"


def test_read__xmp_wins_over_exif() -> None:
    assert metadata.read(jpeg(xmp=XMP, exif=exif(description="Untitled"))).caption == "Boats at dawn"


@pytest.mark.parametrize("xmp", [b"<not xml", XMP[:200], b"<!DOCTYPE x [<!ENTITY a 'b'>]><x>&a;</x>"])
def test_read__broken_xmp_leaves_the_rest(xmp: bytes) -> None:
    found = metadata.read(jpeg(xmp=xmp, exif=exif(description="A boat")))
    assert (found.title, found.caption) == ("", "A boat")


def test_read__no_metadata() -> None:
    assert metadata.read(jpeg()) == metadata.Metadata()
