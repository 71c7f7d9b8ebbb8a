from __future__ import annotations

import random
import re
from functools import cache

import pytest

from benchmarks.faults import judges, mutations
from benchmarks.faults import telltale as samples
from mediasearch.exceptions import Withheld
from mediasearch.features.disclosure import files
from tests.features.disclosure import needs_exiftool

EACH = pytest.mark.parametrize("name", sorted(samples.FORMATS))


@cache
def sample(name: str) -> bytes:
    return samples.FORMATS[name]()


@cache
def copy(name: str) -> bytes:
    return files.cleared(sample(name))


@EACH
def test_cleared__holds_no_byte_of_what_is_private(name: str) -> None:
    assert [secret for secret in samples.SECRETS if secret in copy(name)] == []


@EACH
def test_cleared__has_the_same_pixels(name: str) -> None:
    assert list(judges.frames(copy(name))) == list(judges.frames(sample(name)))


@EACH
def test_cleared__keeps_profile_and_orientation(name: str) -> None:
    assert judges.profile(copy(name)) == judges.profile(sample(name))
    assert judges.orientation(copy(name)) == judges.orientation(sample(name))
    if name in samples.SAYS_ALL - {"heic", "avif-animated"}:  # There a box turns the picture, and nothing does.
        assert (judges.profile(copy(name)), judges.orientation(copy(name))) == (samples.PROFILE, samples.ORIENTATION)


@EACH
def test_cleared__of_a_copy_changes_nothing(name: str) -> None:
    assert files.cleared(copy(name)) == copy(name)


@EACH
def test_cleared__keeps_who_made_it(name: str) -> None:
    for word in samples.KEPT:
        assert name == "png-magick" or word.encode() in copy(name)


@needs_exiftool
@EACH
def test_exiftool__finds_nothing_private(name: str) -> None:
    assert judges.private(sample(name)), "It would find it."
    assert judges.private(copy(name)) == set()
    found = " ".join(judges.said(copy(name)).values())
    assert [secret for secret in samples.SECRETS[:-2] if secret.decode() in found] == []


@needs_exiftool
@EACH
def test_exiftool__finds_who_made_it_and_on_which_terms(name: str) -> None:
    found = judges.said(copy(name))
    expected = {
        "XMP-dc:Creator": samples.BYLINE, "XMP-dc:Rights": samples.COPYRIGHT, "XMP-photoshop:Credit": samples.CREDIT,
        "XMP-xmpRights:WebStatement": samples.LICENCE, "XMP-cc:License": samples.LICENCE,
    }  # fmt: skip
    if name in samples.SAYS_ALL:
        expected |= {"IFD0:Artist": samples.BYLINE, "IFD0:Copyright": samples.COPYRIGHT}
    if name.startswith(("jpeg", "tiff", "png-magick")) and name != "jpeg-multi-picture":
        expected |= {"IPTC:By-line": samples.BYLINE, "IPTC:CopyrightNotice": samples.COPYRIGHT}
        expected |= {"IPTC:Credit": samples.CREDIT}
    for key, value in expected.items():
        assert value in found.get(key, "nothing"), key
    if name in samples.SAYS_ALL:
        assert {"DateTimeOriginal", "ExposureTime"} <= {key.partition(":")[2] for key in found}


@pytest.mark.parametrize("name", ["jpeg", "jpeg-progressive"])
def test_cleared__moves_nothing_in_a_jpeg(name: str) -> None:
    data, left = sample(name), copy(name)
    (scan,) = re.findall(rb"\xff\xda.*\xff\xd9(?=\0\0\0\x18ftyp)", data, re.DOTALL)
    assert left.endswith(scan)
    assert left.index(scan) == data.index(scan)


@pytest.mark.parametrize(
    "data",
    [
        b"", b"just words", b"%PDF-1.7", b"<svg/>", b"GIF89a", b"\x89PNG\r\n\x1a\n", b"II*\0\x08\0\0\0", b"BM",
        b"RIFF\0\0\0\0WEBP", b"\0\0\0\x10ftypheic\0\0\0\0", b"\xff\xd8\xff\xe0\0\x10JFIF",
    ],
)  # fmt: skip
def test_cleared__of_what_is_no_picture_is_withheld(data: bytes) -> None:
    if data.startswith(b"RIFF"):
        assert files.cleared(data) == b"RIFF\4\0\0\0WEBP"
    else:
        with pytest.raises(Withheld):
            files.cleared(data)


@EACH
def test_cleared__of_a_file_cut_short_is_withheld_or_says_nothing(name: str) -> None:
    data = sample(name)
    for cut in random.Random(name).sample(range(len(data)), 60):
        try:
            left = files.cleared(data[:cut])
        except Withheld:
            continue
        assert [secret for secret in samples.SECRETS if secret in left] == []


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("part", range(4))
def test_cleared__of_damaged_files_ends_in_one_of_two_ways(part: int) -> None:
    data = {name: sample(name) for name in samples.FORMATS}
    outcomes = set()
    for number in range(200 * part, 200 * (part + 1)):
        _, _, damaged = mutations.mutation(data, 7, number)
        try:
            assert judges.private_tags(files.cleared(damaged)) == set(), number
            outcomes.add("cleared")
        except Withheld:
            outcomes.add("withheld")
    assert outcomes == {"cleared", "withheld"}
