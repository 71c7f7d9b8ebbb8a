"""What the search page is asked: words, filters and a picture; and the picture as the page shows it."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, Any, cast

from django import forms
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.utils.datastructures import MultiValueDict
from django.utils.translation import gettext, gettext_noop
from django.utils.translation import gettext_lazy as _

from mediasearch.forms import LONGEST_TAG, TagsField, TagsInput, check_size
from mediasearch.models import Asset
from mediasearch.search import pictures
from mediasearch.search.pictures import Picture
from mediasearch.search.query import LONGEST
from mediasearch.search.results import Outcome
from mediasearch.sources.registry import source_of

if TYPE_CHECKING:
    from mediasearch.forms import Upload

UPLOADING = "ms-with-picture"
"""The id of the form that sends a picture: that of the words is put into the address."""
GONE = gettext_noop("This picture is no longer kept here. Choose it again.")
_FIRST_DAY, _LAST_DAY = date(1000, 1, 1), date(9998, 12, 31)


class DayField(forms.DateField):
    """A day, written as 2026-01-31; within what a database can hold in any time zone."""

    def __init__(self, **kwargs: Any) -> None:
        message = _("Choose a day of the years 1000 to 9998.")
        validators = [MinValueValidator(_FIRST_DAY, message), MaxValueValidator(_LAST_DAY, message)]
        widget = forms.DateInput(format="%Y-%m-%d", attrs={"type": "date"})
        super().__init__(widget=widget, validators=validators, input_formats=["%Y-%m-%d"], **kwargs)

    def to_python(self, value: Any) -> date | None:
        try:
            return super().to_python(value)
        except ValidationError:
            raise ValidationError(
                _("“%(value)s” is not a day. Write it like 2026-01-31."), "invalid", {"value": str(value)[:40]}
            ) from None


class QuestionPictureField(forms.FileField):
    """A picture to search with: its size is looked at here, and the search opens it."""

    def to_python(self, data: Any) -> Upload | None:
        upload = cast("Upload | None", super().to_python(data))
        if upload is not None:
            check_size(upload)
        return upload


class PictureForm(forms.Form):
    """A picture to search with, and nothing else."""

    upload = QuestionPictureField(label=_("Search with a picture"), widget=forms.FileInput(attrs={"accept": "image/*"}))


class SearchForm(forms.Form):
    """A question with its filters, from the address of the search page, or sent to it with a picture."""

    q = forms.CharField(
        label=_("Search"),
        required=False,
        max_length=LONGEST,
        widget=forms.TextInput(
            attrs={"type": "search", "placeholder": _("Describe a picture, or words in it"), "autocomplete": "off"}
        ),
    )
    category = forms.CharField(label=_("Category"), required=False, max_length=LONGEST_TAG, widget=forms.Select)
    tag = TagsField(
        label=_("Tags"), required=False, max_length=LONGEST, widget=TagsInput(attrs={"placeholder": _("sea, evening")})
    )
    after = DayField(label=_("From"), required=False)
    before = DayField(label=_("Until"), required=False)
    scores = forms.BooleanField(required=False, widget=forms.HiddenInput)
    picture = forms.CharField(required=False, widget=forms.HiddenInput)
    upload = QuestionPictureField(
        label=_("Search with a picture"),
        required=False,
        widget=forms.FileInput(
            attrs={"accept": "image/*", "form": UPLOADING, "class": "ms-hidden ms-upload", "required": True}
        ),
    )

    def __init__(
        self,
        data: Mapping[str, Any],
        categories: Iterable[str] = (),
        files: MultiValueDict[str, Upload] | None = None,
        like: Asset | None = None,
        user: str = "",
    ) -> None:
        super().__init__(data, files, label_suffix="")
        self.like, self.user = like, user
        if like or files or data.get("picture"):
            self.fields["q"].widget.attrs["placeholder"] = _("Add words")
        choices = [*categories]
        if (asked := str(data.get("category", ""))[:LONGEST_TAG]) and asked not in choices:
            choices.append(asked)
        select = self.fields["category"].widget
        select.choices = [("", _("Any")), *((name, name) for name in choices)]

    def clean_picture(self) -> tuple[Picture, str] | None:
        """Return the picture that an earlier page was asked with, and its name."""
        key = self.cleaned_data["picture"]
        kept = pictures.recall(key, self.user) if key and not self.files else None
        if key and not kept and not self.files:
            self.add_error("upload", gettext(GONE))
        return kept

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        after, before = cleaned.get("after"), cleaned.get("before")
        if after and before and after > before:
            self.add_error("before", _("The last day is before the first. Change one of them."))
        return cleaned

    def question(self) -> dict[str, Any]:
        """Return what `mediasearch.search` is asked. Needs a valid form."""
        cleaned = self.cleaned_data
        kept, _name = cleaned["picture"] or (None, "")
        return {
            "text": cleaned["q"],
            "image": cleaned["upload"] or kept or self.like,
            "category": cleaned["category"],
            "tags": cleaned["tag"],
            "after": cleaned["after"],
            "before": cleaned["before"],
        }

    @property
    def is_narrowed(self) -> bool:
        """Whether anything but the words narrows the search."""
        return any(self.data.get(name) for name in ("category", "tag", "after", "before"))


@dataclass(frozen=True, slots=True)
class Shown:
    """The picture that a page was asked with, as the page shows it."""

    name: str
    thumbnail: str = ""
    """An address; the few bytes of a posted picture are in the address itself."""
    parameters: Mapping[str, list[str]] = field(default_factory=dict)
    """What asks with it again; empty where nothing could be kept."""


def shown(form: SearchForm, outcome: Outcome | None) -> Shown | None:
    """Return the picture that was asked with; one that was just posted is kept for the pages that follow."""
    upload, kept = form.cleaned_data.get("upload"), form.cleaned_data.get("picture")
    if upload:
        if outcome is None or outcome.picture is None:
            return Shown(upload.name) if outcome else None
        key = pictures.keep(outcome.picture, upload.name, form.user)
        return Shown(upload.name, inline(outcome.picture), {"picture": [key]})
    if kept and not form.has_error("upload"):
        seen, name = kept
        return Shown(name, inline(seen), {"picture": [form.data["picture"]]})
    if form.like:
        return Shown(str(form.like), source_of(form.like).thumbnail_url(form.like), {"like": [str(form.like.pk)]})
    return None


def inline(picture: pictures.Picture) -> str:
    """Return an address that is the thumbnail itself, so that it needs no page of its own."""
    return f"data:image/webp;base64,{base64.b64encode(picture.thumbnail).decode()}"
