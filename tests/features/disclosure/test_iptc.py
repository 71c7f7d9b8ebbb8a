from __future__ import annotations

from benchmarks.faults import telltale as samples
from mediasearch.features.disclosure import iptc


def record(number: int, dataset: int, value: bytes) -> bytes:
    return b"\x1c" + bytes([number, dataset]) + len(value).to_bytes(2, "big") + value


BYLINE, STREET = record(2, 80, b"Ann"), record(2, 92, b"17 Hidden Lane")


def test_cleared__keeps_records_in_their_order() -> None:
    data = record(1, 90, b"\x1b%G") + STREET + BYLINE + record(2, 187, b"unique")
    assert iptc.cleared(data) == (record(1, 90, b"\x1b%G") + BYLINE).ljust(len(data), b"\0")


def test_cleared__ends_where_no_record_begins() -> None:
    assert iptc.cleared(BYLINE + b"\0\0\0" + BYLINE).rstrip(b"\0") == BYLINE
    assert iptc.cleared(BYLINE + b"\x1c\x02\x50\x80\x04" + bytes(90)).rstrip(b"\0") == BYLINE
    assert iptc.cleared(BYLINE + record(2, 80, b"Bob")[:-1]).rstrip(b"\0") == BYLINE


def test_cleared__of_nothing_allowed() -> None:
    assert iptc.cleared(STREET) == b""
    assert iptc.cleared(b"") == b""
    assert iptc.cleared(b"words") == b""


def test_resources__keep_the_length_and_stay_resources() -> None:
    block = samples.resources()
    left = iptc.resources(block)
    assert len(left) == len(block)
    at, numbers = 0, []
    while at < len(left):
        assert left[at : at + 4] == b"8BIM"
        size = int.from_bytes(left[at + 8 : at + 12], "big")
        numbers.append(int.from_bytes(left[at + 4 : at + 6], "big"))
        at += 12 + size + size % 2
    assert numbers == [0x0404, 0x040A, 0x0FA0]


def test_resources__with_names_and_without_an_end() -> None:
    named = b"8BIM\x04\x04\x04name\0" + len(BYLINE).to_bytes(4, "big") + BYLINE
    assert BYLINE in iptc.resources(named)
    assert b"name" not in iptc.resources(named)
    assert iptc.resources(named[:-1]) == b""
    assert iptc.resources(b"8BIM") == b""
