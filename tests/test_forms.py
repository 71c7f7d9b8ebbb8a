"""What people fill in, and what becomes of it."""

from __future__ import annotations

from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import SimpleUploadedFile
from django.utils import translation

from mediasearch import exceptions, forms
from mediasearch.features import opener
from mediasearch.forms import AssetForm
from mediasearch.models import Asset
from tests.conftest import MakeAsset, picture

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


def posted(form: AssetForm, **changed: str) -> dict[str, str]:
    """What a browser sends of a page that was shown with this form, hidden fields included."""
    parser = _Inputs()
    parser.feed(form.as_p())
    return parser.values | changed


class _Inputs(HTMLParser):
    """The names and values of a page's fields."""

    def __init__(self) -> None:
        super().__init__()
        self.values: dict[str, str] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = dict(attrs)
        told = known.get("type") != "file" and (known.get("type") != "checkbox" or "checked" in known)
        if told and (name := known.get("name")):
            self.values[name] = known.get("value") or ""


def test_asset_form__leaves_what_workers_filled_in_while_it_was_shown(make_asset: MakeAsset) -> None:
    asset = make_asset()
    sent = posted(AssetForm(instance=Asset.objects.get()), category="new")
    taken = datetime(2026, 5, 1, 12, 30, tzinfo=UTC)
    found = {"title": "Harbour", "caption": "Boats", "tags": ["boat"], "copyright": "Them", "taken_at": taken}
    Asset.objects.filter(pk=asset.pk).record(**found, caption_source="file")
    form = AssetForm(sent, instance=Asset.objects.get())
    assert form.is_valid(), form.errors
    form.save()
    assert Asset.objects.values(*found, "category", "caption_source").get() == found | {
        "category": "new", "caption_source": "file",
    }  # fmt: skip


def test_asset_form__stores_and_clears_what_people_change(make_asset: MakeAsset) -> None:
    asset = make_asset(title="Old", caption="Old", tags=["old"])
    sent = posted(AssetForm(instance=Asset.objects.get()), title="New", caption="", tags="")
    Asset.objects.filter(pk=asset.pk).record(copyright="Them")
    form = AssetForm(sent, instance=Asset.objects.get())
    assert form.is_valid(), form.errors
    form.save()
    stored = Asset.objects.get()
    assert (stored.title, stored.caption, stored.tags, stored.copyright) == ("New", "", [], "Them")


def test_asset_form__without_hidden_fields_means_what_it_says(make_asset: MakeAsset) -> None:
    """As a script sends it that never saw the page."""
    make_asset(title="Old", tags=["old"])
    form = AssetForm({"title": "", "tags": "", "is_public": "on"}, instance=Asset.objects.get())
    assert form.is_valid(), form.errors
    form.save()
    assert (Asset.objects.get().title, Asset.objects.get().tags) == ("", [])
