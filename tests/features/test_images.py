from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from mediasearch import exceptions
from mediasearch.features import images
from tests.conftest import picture

LIMITS = images.Limits(max_bytes=2_000_000, max_pixels=4_000_000)


def saved(image: Image.Image, form: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, form, **options)  # type: ignore[arg-type]
    return stream.getvalue()


def png_of_size(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds next to nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("form", ["JPEG", "PNG", "GIF", "WEBP", "AVIF", "TIFF", "BMP"])
def test_open_image__every_accepted_format(form: str) -> None:
    image = images.open_image(picture("red", form=form), LIMITS)
    assert (image.mode, image.size) == ("RGB", (64, 48))
    red, green, blue = image.getpixel((30, 20))  # type: ignore[misc]
    assert red > 200
    assert green < 60
    assert blue < 60


def test_open_image__heic_where_the_extra_is_installed() -> None:
    pytest.importorskip("pillow_heif", reason="pillow-heif is not installed")
    image = images.open_image(saved(Image.new("RGB", (64, 48), "red"), "HEIF"), LIMITS)
    assert image.size == (64, 48)


def test_open_image__heic_without_the_extra_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "HEIC_READABLE", False)
    with pytest.raises(exceptions.FormatNotAllowed, match=r"pip install mediasearch\[heic\]"):
        images.open_image(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", LIMITS)


@pytest.mark.parametrize(
    ("data", "error", "sentence"),
    [
        (b"", exceptions.NotAnImage, "empty"),
        (b"hello, world", exceptions.NotAnImage, "not an image"),
        (b"%PDF-1.7 ...", exceptions.FormatNotAllowed, "PDF"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", exceptions.FormatNotAllowed, "SVG"),
        (b"8BPS\0\x01" + bytes(40), exceptions.FormatNotAllowed, "Photoshop"),
        (b"\0\0\0\x18ftypisom\0\0\0\0", exceptions.FormatNotAllowed, "video"),
        (picture(form="JPEG", size=(400, 300))[:700], exceptions.ImageUnreadable, "cut short"),
        (picture(form="PNG", size=(400, 300))[:200], exceptions.ImageUnreadable, "cut short"),
        (png_of_size(3_000, 3_000), exceptions.ImageTooLarge, "million pixels"),
        (png_of_size(100_000, 100_000), exceptions.ImageTooLarge, "million pixels"),
        (b"x" * 2_000_001, exceptions.ImageTooLarge, "MAX_BYTES"),
    ],
)
def test_open_image__refuses(data: bytes, error: type[Exception], sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        images.open_image(data, LIMITS)


def test_open_image__format_off_the_list() -> None:
    limits = images.Limits(formats=("JPEG",))
    with pytest.raises(exceptions.NotAnImage, match=r"accepted \(JPEG\)"):
        images.open_image(picture(form="PNG"), limits)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_open_image__is_upright(orientation: int) -> None:
    upright = Image.new("RGB", (60, 40), "white")
    upright.paste("black", (0, 0, 20, 20))
    turns = {
        2: [Image.Transpose.FLIP_LEFT_RIGHT],
        3: [Image.Transpose.ROTATE_180],
        4: [Image.Transpose.FLIP_TOP_BOTTOM],
        5: [Image.Transpose.TRANSPOSE],
        6: [Image.Transpose.ROTATE_90],
        7: [Image.Transpose.TRANSVERSE],
        8: [Image.Transpose.ROTATE_270],
    }
    stored = upright
    for turn in turns.get(orientation, []):
        stored = stored.transpose(turn)
    exif = Image.Exif()
    exif[0x0112] = orientation
    opened = images.open_image(saved(stored, "PNG", exif=exif), LIMITS)
    assert opened.size == (60, 40)
    assert np.array_equal(np.asarray(opened), np.asarray(upright))


def test_open_image__transparency_lies_on_white() -> None:
    image = images.open_image(saved(Image.new("RGBA", (8, 8), (0, 0, 0, 0)), "PNG"), LIMITS)
    assert image.getpixel((4, 4)) == (255, 255, 255)


def test_open_image__sixteen_bits_keep_their_range() -> None:
    half = Image.fromarray(np.full((8, 8), 32_768, dtype=np.uint16))
    assert images.open_image(saved(half, "PNG"), LIMITS).getpixel((4, 4)) in [(127,) * 3, (128,) * 3]


def test_open_image__first_frame_of_an_animation() -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    data = saved(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert images.open_image(data, LIMITS).getpixel((4, 4)) == (255, 0, 0)


@pytest.mark.parametrize("form", ["JPEG", "PNG"])
def test_open_image__reduces_but_not_below_the_asked_side(form: str) -> None:
    image = images.open_image(picture(size=(1_600, 1_200), form=form), LIMITS, shortest_side=448)
    assert 448 <= min(image.size) < 900


def test_open_image__small_pictures_stay() -> None:
    assert images.open_image(picture(size=(300, 200)), LIMITS, shortest_side=448).size == (300, 200)


@pytest.mark.parametrize(
    ("size", "most", "expected"),
    [
        ((40, 30), 1_200, (40, 30)),
        ((400, 10), 1_000, (100, 10)),
        ((10, 400), 1_000, (10, 100)),
        ((50, 50), 100, (2, 50)),
        ((500, 1), 1, (1, 1)),
        ((30, 500), 20, (30, 1)),
    ],
)
def test_middle__cuts_strips_alone(size: tuple[int, int], most: int, expected: tuple[int, int]) -> None:
    assert images.middle(Image.new("RGB", size), most).size == expected


def test_middle__keeps_the_middle() -> None:
    strip = Image.new("RGB", (300, 10), "red")
    strip.paste("blue", (140, 0, 160, 10))
    assert images.middle(strip, 200).getcolors() == [(200, (0, 0, 255))]
