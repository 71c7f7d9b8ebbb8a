from __future__ import annotations

import io

import pytest
from PIL import Image

from mediasearch.features import images, signatures
from tests.conftest import picture

PASSIVE = {
    "image/jpeg": picture(form="JPEG"),
    "image/png": picture(),
    "image/gif": picture(form="GIF", mode="L", colour=0),  # type: ignore[arg-type]
    "image/webp": picture(form="WEBP"),
    "image/avif": picture(form="AVIF"),
    "image/tiff": picture(form="TIFF"),
    "image/bmp": picture(form="BMP"),
}


@pytest.mark.parametrize("mime_type", PASSIVE)
def test_mime_type__of_each_accepted_format(mime_type: str) -> None:
    assert signatures.mime_type(PASSIVE[mime_type]) == mime_type


@pytest.mark.skipif(not images.reads_heic(), reason="pillow-heif is not installed")
def test_mime_type__heic() -> None:
    stream = io.BytesIO()
    Image.new("RGB", (64, 48)).save(stream, "HEIF")
    assert signatures.mime_type(stream.getvalue()) == "image/heic"


@pytest.mark.parametrize(
    ("brands", "mime_type"),
    [
        (b"avifmif1miaf", "image/avif"),
        (b"mif1\0\0\0\0mif1avif", "image/avif"),
        (b"mif1\0\0\0\0mif1heic", "image/heic"),
        (b"heix\0\0\0\0mif1", "image/heic"),
        (b"isom\0\0\2\0isomiso2", ""),
        (b"xxav\0\0\0\0ifxx", ""),
    ],
)
def test_mime_type__by_brand(brands: bytes, mime_type: str) -> None:
    assert signatures.mime_type(b"\0\0\0\x1cftyp" + brands) == mime_type


@pytest.mark.parametrize(
    "data",
    [b"", b"<html>", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"%PDF-1.7", b"<?php", b"PK\3\4", b"\xff\xd8"],
)
def test_mime_type__of_what_is_no_picture(data: bytes) -> None:
    assert signatures.mime_type(data) == ""
    assert signatures.extension("") == ".bin"


def test_extension__one_for_each_format_that_is_opened() -> None:
    assert set(signatures.EXTENSIONS) == set(images.MIME_TYPES.values())
    assert set(signatures._SIGNATURES) == set(signatures.EXTENSIONS)
