from __future__ import annotations

import io

import pytest
from PIL import Image

from benchmarks.faults import judges
from benchmarks.faults import telltale as samples
from mediasearch.exceptions import Withheld
from mediasearch.features.disclosure import gif


def animation() -> bytes:
    stream = io.BytesIO()
    samples.pixels().save(stream, "GIF", save_all=True, append_images=[samples.pixels().rotate(180)], loop=3)
    return stream.getvalue()


def test_cleared__changes_nothing_where_nothing_is_said() -> None:
    assert gif.cleared(animation()) == animation()


@pytest.mark.parametrize(
    "private",
    [
        b"\x21\xfe\x0452 N\0", b"\x21\xff\x0bPRIVATE 1.0\x0452 N\0", b"\x21\x01\x0c" + bytes(12) + b"\x0452 N\0",
        b"\x21\xff\x0bXMP DataXMP52 N" + gif._XMP_TAIL,
    ],
)  # fmt: skip
def test_cleared__leaves_out_other_extensions(private: bytes) -> None:
    data = animation()
    at = data.index(b"\x21")
    assert gif.cleared(data[:at] + private + data[at:] + b"52 N") == data


def test_cleared__of_a_file_without_its_end() -> None:
    assert gif.cleared(animation()[:-1]) == animation()[:-1]
    assert list(judges.frames(animation()[:-1])) == list(judges.frames(animation()))


def test_cleared__of_what_is_no_part_is_withheld() -> None:
    for broken in (animation()[:-1] + b"52 N", animation()[:-9]):
        with pytest.raises((Withheld, IndexError)):
            gif.cleared(broken)


def test_cleared__keeps_the_repetitions() -> None:
    with Image.open(io.BytesIO(gif.cleared(animation()))) as image:
        assert image.info["loop"] == 3
