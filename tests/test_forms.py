"""What people fill in, and what becomes of it."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import SimpleUploadedFile
from django.utils import translation

from mediasearch import exceptions, forms
from mediasearch.features import opener
from tests.conftest import picture

SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'


def upload(data: bytes, name: str = "a.png") -> SimpleUploadedFile:
    return SimpleUploadedFile(name, data, "image/png")


def test_picture_field__takes_a_picture_and_rewinds_it() -> None:
    data = picture("red")
    taken = forms.PictureField().clean(upload(data))
    assert taken.read() == data


@pytest.mark.parametrize(
    ("data", "part"),
    [
        (b"just words", "This file is not an image"),
        (SVG, "SVG drawings are not accepted. Export it as PNG."),
        (b"%PDF-1.7 ...", "This is a PDF, not an image."),
        (picture("red", (400, 300), "JPEG")[:-400], "This image is damaged or cut short"),
    ],
)
def test_picture_field__refuses_with_a_sentence(data: bytes, part: str) -> None:
    with pytest.raises(ValidationError, match=part.replace(".", r"\.")):
        forms.PictureField().clean(upload(data))


def test_picture_field__looks_at_the_size_before_it_reads(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.MEDIASEARCH = settings.MEDIASEARCH | {"MAX_BYTES": 1_000}
    monkeypatch.setattr(opener, "load", lambda stream: pytest.fail("The file was read."))
    with pytest.raises(ValidationError, match=r"at most 0\.001 MB are accepted"):
        forms.PictureField().clean(upload(b"x" * 1_001))


def test_picture_field__says_that_it_cannot_check_now(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(data: bytes) -> None:
        raise exceptions.SandboxUnavailable

    monkeypatch.setattr(opener, "verify", fail)
    with pytest.raises(ValidationError, match="can't be checked now: The process that opens files could not"):
        forms.PictureField().clean(upload(picture()))


def test_picture_field__survives_a_crash_of_the_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(data: bytes) -> None:
        raise exceptions.DecoderCrashed

    monkeypatch.setattr(opener, "verify", crash)
    with pytest.raises(ValidationError):
        forms.PictureField().clean(upload(picture()))


def test_picture_field__speaks_the_readers_language() -> None:
    with translation.override("zh-hans"), pytest.raises(ValidationError, match="不接受这种格式"):
        forms.PictureField().clean(upload(SVG))


def test_pictures_field__judges_each_file_by_itself() -> None:
    files = [upload(picture("red"), "good.png"), upload(b"words", "bad.png"), upload(b"", "empty.png")]
    good, refused = forms.PicturesField().clean(files)
    assert [file.name for file in good] == ["good.png"]
    assert [sentence.partition(" was")[0] for sentence in refused] == ["“bad.png”", "“empty.png”"]


def test_tags_field__changes_only_when_the_tags_do() -> None:
    field = forms.TagsField(required=False)
    assert not field.has_changed(["a", "b"], "a, b")
    assert field.has_changed(["a", "b"], "a")
    assert field.prepare_value(["a", "b"]) == "a, b"
