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
    monkeypatch.setattr(images, "reads_heic", lambda: False)
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


def test_open_image__a_side_beyond_any_sense_is_refused() -> None:
    with pytest.raises(exceptions.ImageTooLarge, match="100,000 pixels long; at most 65,535"):
        images.open_image(picture(size=(100_000, 2)), LIMITS)


def test_identify__refuses_what_takes_more_memory_than_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    data = picture(size=(2_000, 1_000), form="WEBP")  # Its decoder takes more than others, and calls that damage.
    monkeypatch.setattr(images.resource, "getrlimit", lambda kind: (95_000_000, 95_000_000))
    assert images.identify(data, LIMITS).size == (2_000, 1_000)
    monkeypatch.setattr(images.resource, "getrlimit", lambda kind: (90_000_000, 90_000_000))
    with pytest.raises(exceptions.ImageTooLarge, match="OPEN_MEMORY"):
        images.identify(data, LIMITS)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF"])
def test_open_file__knows_the_size_before_it_was_reduced(form: str) -> None:
    lying = Image.Exif()
    lying[0x0112] = 6
    opened = images.open_file(picture(size=(801, 600), form=form, exif=lying), LIMITS, shortest_side=150)
    assert opened.size == (600, 801)
    assert (opened.image.width < opened.image.height, min(opened.image.size) < 300) == (True, True)


@pytest.mark.parametrize(
    ("size", "left"),
    [((90, 10), (80, 10)), ((10, 95), (10, 81)), ((80, 10), (80, 10)), ((500, 40), (80, 40)), ((30, 20), (30, 20))],
)
def test_without_ends__keeps_the_middle_of_a_strip(size: tuple[int, int], left: tuple[int, int]) -> None:
    strip = Image.new("RGB", size, "white")
    strip.paste("red", (size[0] // 2 - 2, size[1] // 2 - 2, size[0] // 2 + 2, size[1] // 2 + 2))
    kept = images.without_ends(strip, shortest_side=20)
    assert kept.size == left
    assert kept.getpixel((left[0] // 2, left[1] // 2)) == (255, 0, 0)


@pytest.mark.parametrize("whole", [(2_698, 1_800), (1_800, 2_698), (2_963, 1_999), (4_000, 3_000), (1_800, 1_800)])
@pytest.mark.parametrize("scale", [2, 4])
def test_in_proportion__the_longest_side_gets_as_many_pixels_as_unreduced(whole: tuple[int, int], scale: int) -> None:
    reduced = Image.new("RGB", (-(-whole[0] // scale), -(-whole[1] // scale)))
    fitted = images.in_proportion(reduced, whole, 224)
    assert 224 * max(fitted.size) // min(fitted.size) == 224 * max(whole) // min(whole)
    assert abs(fitted.width - reduced.width) + abs(fitted.height - reduced.height) <= 1


@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF"])
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_open_file__a_box_is_of_what_people_see(form: str, orientation: int) -> None:
    upright = Image.new("RGB", (80, 48), "white")
    upright.paste("red", (64, 0, 80, 16))
    turns = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}
    stored = upright.transpose(turns[orientation]) if orientation in turns else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = saved(stored, form, exif=exif)
    opened = images.open_file(data, LIMITS, box=(0.8, 0.0, 0.2, 1 / 3))
    assert (opened.size, opened.image.size) == ((16, 16), (16, 16))
    red, green, _ = opened.image.getpixel((8, 8))  # type: ignore[misc]
    assert (red > 200, green < 60) == (True, True)


@pytest.mark.parametrize("form", ["JPEG", "PNG"])
def test_open_file__a_small_part_of_a_large_picture_keeps_its_pixels(form: str) -> None:
    large = Image.new("RGB", (2_000, 1_600), "white")
    large.paste("red", (400, 800, 500, 880))
    part = images.open_file(saved(large, form), LIMITS, shortest_side=64, box=(0.2, 0.5, 0.05, 0.05))
    assert part.size == part.image.size == (100, 80)
    assert np.asarray(part.image)[:, :, 1].mean() < 60
    half = images.open_file(saved(large, form), LIMITS, shortest_side=64, box=(0.0, 0.0, 0.5, 0.5))
    assert half.size == (1_000, 800)
    assert 64 <= min(half.image.size) < 128


@pytest.mark.parametrize("form", ["JPEG", "PNG"])
def test_open_file__all_of_a_picture_is_a_part_of_it(form: str) -> None:
    noise = np.random.default_rng(1).integers(0, 255, (90, 121, 3), dtype=np.uint8)
    data = saved(Image.fromarray(noise), form)
    whole, part = (images.open_file(data, LIMITS, 40, box) for box in (None, (0.0, 0.0, 1.0, 1.0)))
    assert whole.size == part.size
    assert np.array_equal(np.asarray(whole.image), np.asarray(part.image))


def test_open_file__a_part_of_deep_pixels_is_as_bright_as_in_the_whole() -> None:
    deep = np.full((40, 40), 10_000, dtype=np.int32)
    deep[:20] = 40_000
    data = saved(Image.fromarray(deep), "TIFF")
    whole = images.open_file(data, LIMITS).image
    part = images.open_file(data, LIMITS, box=(0.0, 0.5, 1.0, 0.5)).image
    assert part.getpixel((5, 5)) == whole.getpixel((5, 25)) != (255, 255, 255)


@pytest.mark.parametrize("box", [(0.5, 0.5, 0.01, 0.5), (0.5, 0.5, 0.5, 0.01), (0.999, 0.0, 1e-9, 1.0)])
def test_open_file__a_part_of_a_few_pixels_is_refused(box: tuple[float, float, float, float]) -> None:
    with pytest.raises(exceptions.CropTooSmall, match="at least 8 each way"):
        images.open_file(picture(size=(700, 700)), LIMITS, box=box)


@pytest.mark.parametrize("form", ["JPEG", "PNG"])
def test_open_image__reduces_but_not_below_the_asked_side(form: str) -> None:
    image = images.open_image(picture(size=(1_600, 1_200), form=form), LIMITS, shortest_side=448)
    assert 448 <= min(image.size) < 900


def test_open_image__a_large_jpeg_is_decoded_at_a_smaller_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[tuple[int, int]] = []
    reduce = Image.Image.reduce
    monkeypatch.setattr(Image.Image, "reduce", lambda self, factor: decoded.append(self.size) or reduce(self, factor))
    large = picture(size=(2_000, 1_900), form="JPEG")
    image = images.open_image(large, LIMITS, shortest_side=448)
    assert (image.size, decoded) == ((500, 475), [])  # The decoder itself has left nothing to reduce.


def test_open_image__small_pictures_stay() -> None:
    assert images.open_image(picture(size=(300, 200)), LIMITS, shortest_side=448).size == (300, 200)
