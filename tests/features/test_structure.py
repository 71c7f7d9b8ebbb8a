from __future__ import annotations

import io
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from benchmarks.faults import elaborate, made, mutations, slow
from benchmarks.faults.boxes import box, full
from mediasearch.exceptions import ImageTooComplex
from mediasearch.features import images, structure
from tests.conftest import picture

DATA = Path(__file__).resolve().parents[3] / "shared/data"
REAL = sorted(path for path in DATA.glob("*/**/*") if path.suffix.lower() in (".jpg", ".png", ".gif", ".tif", ".webp"))
SCAN = b"\xff\xda"


def file(form: str, **values: Any) -> bytes:
    """The plainest file of a format, but for some parameters."""
    kind = elaborate.FORMATS[form]
    return kind.make(**kind.plainest() | values)


def jpeg(side: int, mode: str = "RGB", repeats: int = 0, **options: Any) -> bytes:
    """A progressive JPEG, with its last scan repeated."""
    stream = io.BytesIO()
    Image.new(mode, (side, side), "white").save(stream, "JPEG", progressive=True, **options)
    plain = stream.getvalue()
    last = plain.rindex(SCAN)
    return plain[:-2] + plain[last:-2] * repeats + plain[-2:]


def tiff(kind: bytes, *entries: tuple[int, int, int, int]) -> bytes:
    """The head of a TIFF, or a BigTIFF, whose only directory has some entries."""
    big = kind[2] == 43
    head = kind + (struct.pack("<HHQ", 8, 0, 16) if big else struct.pack("<I", 8))
    form = "<HHQQ" if big else "<HHII"
    return (
        head + struct.pack("<Q" if big else "<H", len(entries)) + b"".join(struct.pack(form, *one) for one in entries)
    )


def boxed(*boxes: bytes) -> bytes:
    return box(b"ftyp", b"avif", bytes(4)) + b"".join(boxes)


def test_check__a_jpeg_of_a_thousand_scans_says_how_many_it_may_have() -> None:
    with pytest.raises(
        ImageTooComplex, match=r"^This JPEG has 1,000 scans; at most 77 are accepted at its size\. Save"
    ):
        structure.check(slow.many_scans())
    with pytest.raises(ImageTooComplex):
        images.open_image(slow.many_scans(), images.Limits())


@pytest.mark.parametrize("side", [8, 64, 500])
def test_check__many_scans_of_a_small_picture_are_no_matter(side: int) -> None:
    many = jpeg(side, repeats=990)
    assert many.count(SCAN) == 1_000
    structure.check(many)
    assert images.open_image(many, images.Limits()).size == (side, side)


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_check__a_picture_of_the_largest_size_may_have_the_scans_that_editors_write(mode: str) -> None:
    options = {"subsampling": 0} if mode == "RGB" else {}
    plain = jpeg(64, mode, **options)
    frame = plain.index(b"\xff\xc2") + 5
    largest = plain[:frame] + struct.pack(">HH", 7_071, 7_071) + plain[frame + 4 :]
    structure.check(largest)
    last = largest.rindex(SCAN)
    structure.check(largest[:-2] + largest[last:-2] * 40 + largest[-2:])
    with pytest.raises(ImageTooComplex, match="scans"):
        structure.check(largest[:-2] + largest[last:-2] * 90 + largest[-2:])


def test_check__where_larger_pictures_are_accepted_they_may_have_as_many_scans() -> None:
    with pytest.raises(ImageTooComplex):
        structure.check(slow.many_scans(), 400_000_000)
    many = jpeg(7_000, repeats=150)
    with pytest.raises(ImageTooComplex):
        structure.check(many)
    structure.check(many, 200_000_000)


def test_check__what_looks_like_scans_inside_of_segments_is_none() -> None:
    plain = jpeg(3_000)
    comment = b"\xff\xfe" + struct.pack(">H", 60_002) + SCAN * 30_000
    structure.check(plain[:2] + comment * 3 + plain[2:])
    stream = io.BytesIO()
    Image.new("RGB", (3_000, 3_000)).save(stream, "JPEG", comment=SCAN * 30_000)
    assert images.open_image(stream.getvalue(), images.Limits()).size == (3_000, 3_000)


def frames(entries: int) -> bytes:
    lists = (full(b"stsc", 0, struct.pack(">I", entries), bytes(12 * entries)),)
    lists += (full(b"stco", 0, struct.pack(">I", entries), bytes(4 * entries)),)
    return boxed(box(b"moov", box(b"trak", box(b"mdia", box(b"minf", box(b"stbl", *lists))))))


@pytest.mark.parametrize(
    ("make", "most", "sentence"),
    [
        (
            lambda n: file("JPEG", segments=n),
            1_499_990,
            "This JPEG has more than 1,500,000 segments; at most 1,500,000",
        ),
        (lambda n: file("JPEG", segments=n, segment="EXIF"), 150_000, "bytes of EXIF"),
        (lambda n: file("PNG", chunks=n, kind="prIv"), 799_990, "This PNG has more than 800,000 chunks"),
        (lambda n: file("PNG", chunks=n, kind="iCCP"), 600, "This PNG has more than .* of colour profiles"),
        (lambda n: file("GIF", blocks=n, block="comments"), 5_999_990, "This GIF has more than 6,000,000 blocks"),
        (lambda n: tiff(b"II+\0", *[(40_000, 3, 1, 0)] * n), 800_000, "This TIFF has more than 800,000 entries"),
        (
            lambda n: tiff(b"II*\0", (273, 4, n, 0)) + bytes(2_000_000),
            300_000,
            "This TIFF has more than 300,000 strips",
        ),
        (lambda n: boxed(full(b"meta", 0, box(b"free") * n)), 39_998, "AVIF or HEIC has more than 40,000 boxes"),
        (
            lambda n: boxed(full(b"meta", 0, full(b"iloc", 2, b"\0\0", struct.pack(">I", n), bytes(1_000_000)))),
            40_000,
            "AVIF or HEIC has more than 40,000 items",
        ),
        (frames, 31_000, "steps through its frames"),
    ],
)
def test_check__refuses_too_many_parts_and_no_fewer(make: Callable[[int], bytes], most: int, sentence: str) -> None:
    structure.check(make(most))
    with pytest.raises(ImageTooComplex, match=rf"{sentence}.*\. Save it anew\.$"):
        structure.check(make(most + most // 10))


@pytest.mark.parametrize("form", ["JPEG", "PNG", "GIF", "WEBP", "AVIF", "TIFF", "BMP"])
def test_form__knows_what_pillow_writes(form: str) -> None:
    data = picture(form=form)
    structure.check(data)
    assert structure.form(data) == {"AVIF": "AVIF or HEIC", "WEBP": "", "BMP": ""}.get(form, form)


def test_check__damaged_files_are_left_to_the_decoder() -> None:
    files = made.files() | {name: kind.make(**kind.plainest()) for name, kind in elaborate.FORMATS.items()}
    files |= {"scans": jpeg(300, repeats=20), "big.tif": tiff(b"II+\0", (273, 4, 9, 90)), "frames": frames(5)}
    for data in [*files.values(), *(data[:cut] for data in files.values() for cut in range(64))]:
        structure.check(data)
    for number in range(1_000):
        _, _, data = mutations.mutation(files, 1, number)
        structure.check(data)


@pytest.mark.skipif(not REAL, reason="no pictures from elsewhere are at hand")
def test_check__real_files_have_few_parts() -> None:
    for path in REAL:
        structure.check(path.read_bytes())


def test_check__strips_of_a_tiff_that_are_all_the_same_jpeg() -> None:
    many = {"side": 7_071, "compression": "jpeg", "mode": "L", "rows": 1}
    structure.check(file("TIFF", **many))
    structure.check(file("TIFF", **many | {"rows": 256, "repeats": 40}))
    with pytest.raises(ImageTooComplex, match=r"This TIFF has [\d,]+ scans; at most [\d,]+ are accepted at its size"):
        structure.check(file("TIFF", **many | {"repeats": 85}))
