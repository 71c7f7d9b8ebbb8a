from __future__ import annotations

import pytest

from benchmarks.faults import telltale as samples
from mediasearch.exceptions import Withheld
from mediasearch.features.disclosure import boxes

PIXELS = b"PIXELS-PIXELS"


def box(kind: bytes, content: bytes = b"") -> bytes:
    return (8 + len(content)).to_bytes(4, "big") + kind + content


def full(kind: bytes, content: bytes, version: int = 0) -> bytes:
    return box(kind, bytes([version, 0, 0, 0]) + content)


def info(number: int, kind: bytes, mime: bytes = b"") -> bytes:
    return full(b"infe", number.to_bytes(2, "big") + b"\0\0" + kind + b"\0" + mime, version=2)


EXIF = b"\0\0\0\6Exif\0\0" + samples.exif()
FTYP = box(b"ftyp", b"heic\0\0\0\0mif1")


def place(number: int, method: int, start: int, length: int) -> bytes:
    parts = (number, 2), (method, 2), (0, 2), (1, 2), (start, 4), (length, 4)
    return b"".join(value.to_bytes(size, "big") for value, size in parts)


def file(*items: tuple[bytes, bytes], method: int = 0, extra: bytes = b"", across: int = 0) -> bytes:
    """A file of items, each a kind and content; `across` has each begin so many bytes too early."""
    kinds = [info(number, *kind.split(b":")) for number, (kind, _) in enumerate(items)]
    store = b"".join(content for _, content in items)

    def index(first: int) -> bytes:
        at, places = first, b""
        for number, (_, content) in enumerate(items):
            places += place(number, method, at - across * bool(number), len(content) + across * bool(number))
            at += len(content)
        return full(b"iloc", b"\x44\0" + len(items).to_bytes(2, "big") + places, version=1)

    def meta(first: int) -> bytes:
        inner = full(b"iinf", len(items).to_bytes(2, "big") + b"".join(kinds)) + index(first) + extra
        return full(b"meta", inner + (box(b"idat", store) if method == 1 else b""))

    if method == 1:
        return FTYP + meta(0)
    return FTYP + meta(len(FTYP) + len(meta(0)) + 8) + box(b"mdat", store)


@pytest.mark.parametrize("method", [0, 1])
def test_cleared__keeps_pictures_and_clears_metadata(method: int) -> None:
    data = file((b"hvc1", PIXELS), (b"Exif", EXIF), (b"mime:application/rdf+xml", samples.XMP), method=method)
    left = boxes.cleared(data)
    assert len(left) == len(data)
    assert left.index(PIXELS) == data.index(PIXELS)
    assert samples.BYLINE.encode() in left
    assert [secret for secret in samples.SECRETS if secret in left] == []


@pytest.mark.parametrize("kind", [b"mime:text/plain", b"uri ", b"prVt", b"mime:application/rdf+xml", b"Exif"])
@pytest.mark.parametrize("method", [0, 1])
def test_cleared__makes_zeros_of_other_items(kind: bytes, method: int) -> None:
    left = boxes.cleared(file((b"av01", PIXELS), (kind, b"at 52 N, 13 E" + bytes(40)), method=method))
    assert PIXELS in left
    assert b"52 N" not in left


@pytest.mark.parametrize("kind", [b"uuid", b"xml ", b"prVt"])
def test_cleared__makes_free_space_of_other_boxes(kind: bytes) -> None:
    data = file((b"hvc1", PIXELS), extra=box(kind, b"52 N"))
    assert boxes.cleared(data) == data.replace(box(kind, b"52 N"), box(b"free", bytes(4)))


@pytest.mark.parametrize("kind", [b"uuid", b"udes"])
def test_cleared__makes_free_space_of_other_properties(kind: bytes) -> None:
    properties = box(b"iprp", box(b"ipco", box(b"ispe", b"size") + box(kind, b"52 N")) + box(b"ipma", b"which"))
    left = boxes.cleared(file((b"hvc1", PIXELS), extra=properties))
    assert properties.replace(box(kind, b"52 N"), box(b"free", bytes(4))) in left


def test_cleared__cuts_off_what_follows() -> None:
    data = file((b"hvc1", PIXELS))
    assert boxes.cleared(data + box(b"mpvd", b"52 N") + box(b"free")) == data
    assert boxes.cleared(FTYP + box(b"uuid", b"52 N") + data[len(FTYP) :])[len(FTYP) :][4:12] == b"free\0\0\0\0"


@pytest.mark.parametrize(
    "data",
    [
        FTYP, FTYP + box(b"mdat", b"52 N"), file((b"hvc1", PIXELS))[:-1], file((b"hvc1", PIXELS))[:40],
        file((b"hvc1", PIXELS), (b"Exif", EXIF), (b"hvc1", PIXELS), across=5),
        FTYP + box(b"moov", box(b"trak", box(b"mdia", full(b"hdlr", bytes(4) + b"soun" + bytes(12))))),
        FTYP + box(b"free") * 100_001,
    ],
    ids=["no index", "no pictures", "cut", "cut index", "across each other", "a track of sound", "too many"],
)  # fmt: skip
def test_cleared__of_what_can_not_be_told_is_withheld(data: bytes) -> None:
    with pytest.raises(Withheld):
        boxes.cleared(data)


def test_cleared__is_bounded() -> None:
    """A thousand items that are all the same bytes."""
    data = file((b"hvc1", PIXELS * 1_000), *[(b"hvc1", b"")] * 1_000, across=12_000)
    with pytest.raises(Withheld):
        boxes.cleared(data)
