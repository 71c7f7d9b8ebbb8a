from __future__ import annotations

import io

import pytest
from PIL import Image

from benchmarks.faults import telltale as samples
from mediasearch.exceptions import Withheld
from mediasearch.features.disclosure import webp


def saved(**options: object) -> bytes:
    stream = io.BytesIO()
    samples.pixels().save(stream, "WEBP", **options)
    return stream.getvalue()


def test_cleared__changes_nothing_where_nothing_is_said() -> None:
    for data in (saved(), saved(lossless=True), saved(icc_profile=samples.PROFILE)):
        assert webp.cleared(data) == data


def test_cleared__says_which_metadata_is_left() -> None:
    assert webp.cleared(saved(exif=b"52 N", xmp=samples.XMP))[20] == webp._HAS_XMP
    left = webp.cleared(saved(exif=samples.exif(), xmp=b"52 N"))
    assert left[20] == webp._HAS_EXIF
    with Image.open(io.BytesIO(left)) as image:
        assert image.getexif()[0x13B] == samples.BYLINE
        assert image.info.get("xmp") is None


def test_cleared__clears_frames() -> None:
    data = samples.FORMATS["webp-animated"]()
    at = data.index(b"ANMF")
    size = int.from_bytes(data[at + 4 : at + 8], "little")
    noted = data[at : at + 8 + size + size % 2] + samples._riff(b"NOTE", b"52 N")
    noted = noted[:4] + (len(noted) - 8).to_bytes(4, "little") + noted[8:]
    data = data[:at] + noted + data[at + 8 + size + size % 2 :]
    data = data[:4] + (len(data) - 8).to_bytes(4, "little") + data[8:]
    assert b"52 N" not in webp.cleared(data)


def test_cleared__of_chunks_that_end_outside_is_withheld() -> None:
    data = saved()
    for broken in (data[:-1], data[:16] + b"\xff\xff\xff\x00" + data[20:]):
        with pytest.raises(Withheld, match="cut short"):
            webp.cleared(broken)


def test_cleared__is_bounded() -> None:
    body = b"NOTE\0\0\0\0" * 100_001
    with pytest.raises(Withheld, match="too many"):
        webp.cleared(b"RIFF" + (len(body) + 4).to_bytes(4, "little") + b"WEBP" + body)
