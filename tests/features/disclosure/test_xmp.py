from __future__ import annotations

from xml.etree import ElementTree

import pytest

from benchmarks.faults import telltale as samples
from mediasearch.features.disclosure import xmp

DC, GPS = 'xmlns:dc="http://purl.org/dc/elements/1.1/"', 'xmlns:exif="http://ns.adobe.com/exif/1.0/"'
RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"


def packet(body: str, attributes: str = "", before: str = "", after: str = " " * 60) -> bytes:
    about = f'<rdf:Description rdf:about="" {DC} {GPS} {attributes}>{body}</rdf:Description>'
    return f'{before}<rdf:RDF xmlns:rdf="{RDF}">{about}</rdf:RDF>{after}'.encode()


CREATOR = "<dc:creator><rdf:Seq><rdf:li>Ann</rdf:li></rdf:Seq></dc:creator>"


def texts(left: bytes) -> list[str]:
    return [text.strip() for text in ElementTree.fromstring(left).itertext() if text.strip()]


def test_cleared__keeps_the_length_and_the_wrapper() -> None:
    left = xmp.cleared(samples.XMP)
    assert len(left) == len(samples.XMP)
    assert left.startswith(b"<?xpacket begin=")
    assert left.endswith(b'<?xpacket end="r"?>')
    assert texts(left) == [samples.BYLINE, samples.COPYRIGHT, samples.LICENCE]


def test_cleared__leaves_out_attributes_and_elements_that_are_not_named() -> None:
    left = xmp.cleared(packet(CREATOR + "<exif:GPSLatitude>52</exif:GPSLatitude>", 'exif:GPSLongitude="13"'))
    assert texts(left) == ["Ann"]
    assert b"GPS" not in left


def test_cleared__leaves_out_what_hides_in_a_value() -> None:
    inner = '<dc:creator exif:GPSLatitude="52"><rdf:Seq><rdf:li><exif:GPSLatitude>52</exif:GPSLatitude>Ann</rdf:li>'
    left = xmp.cleared(packet(inner + "</rdf:Seq></dc:creator><!-- 52 --><?secret 52?>"))
    assert b"52" not in left
    assert b"GPS" not in left


def test_cleared__leaves_out_typed_nodes_and_text_between() -> None:
    place = f"somewhere<exif:GPSLatitude {GPS}>52</exif:GPSLatitude>"
    body = f"{CREATOR}</rdf:Description>{place}<rdf:Description>"
    assert texts(xmp.cleared(packet(body))) == ["Ann"]


@pytest.mark.parametrize(
    "data",
    [
        b"", b"words", bytes(400), packet(""), packet("<exif:GPSLatitude>52</exif:GPSLatitude>"), b"<a/>",
        packet(CREATOR, before='<!DOCTYPE a [<!ENTITY e "x">]>'),
        packet(CREATOR.replace("Ann", "&e;"), before="<!DOCTYPE a SYSTEM 'file:///etc/passwd'>"),
        packet(CREATOR)[:-70], packet("<dc:creator>" * 900 + "</dc:creator>" * 900), packet(CREATOR + " " * 5_000_000),
        packet("<dc:creator/>" * 10_001),
    ],
    ids=[
        "empty", "no XML", "zeros", "nothing said", "only a place", "no RDF", "entities", "outside", "cut", "deep",
        "long", "many",
    ],
)  # fmt: skip
def test_cleared__leaves_nothing_of_what_can_not_be_read(data: bytes) -> None:
    assert xmp.cleared(data) == b""


def test_cleared__never_becomes_longer() -> None:
    prefixes = (
        packet(CREATOR, after="").replace(b"xmlns:dc", b"xmlns:d").replace(b"<dc:", b"<d:").replace(b"</dc:", b"</d:")
    )
    minimal = prefixes.replace(f" {GPS} ".encode(), b"").replace(b' rdf:about=""', b"")
    assert xmp.cleared(minimal) == b""
    assert texts(xmp.cleared(minimal + b" " * 60)) == ["Ann"]
