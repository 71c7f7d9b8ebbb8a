"""What people fill in to add or change pictures: one, or several at once. `asking` has the search."""

from __future__ import annotations

import errno
import logging
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, cast

from django import forms
from django.core.exceptions import ValidationError
from django.utils.datastructures import MultiValueDict
from django.utils.translation import get_language, gettext, ngettext
from django.utils.translation import gettext_lazy as _

from mediasearch import conf
from mediasearch.exceptions import (
    Busy,
    CropTooSmall,
    DecoderCrashed,
    DecoderTimeout,
    FormatNotAllowed,
    ImageTooComplex,
    ImageTooLarge,
    ImageUnreadable,
    MediaSearchError,
    NotAnImage,
    PictureRefused,
    Unavailable,
)
from mediasearch.features import opener
from mediasearch.models import Asset

if TYPE_CHECKING:
    from django.core.files.uploadedfile import UploadedFile

    Upload = UploadedFile[Any]

logger = logging.getLogger(__name__)
_SEPARATORS = re.compile(r"[,，、;；\n]")
LONGEST_TAG = Asset._meta.get_field("category").max_length or 100

# What an error says is English, and more precise than these, which are for readers of other languages.
_TROUBLE = _("This image could not be opened: trying took too long or failed. Save it anew and try again.")
_REFUSALS: dict[type[BaseException], Any] = {
    NotAnImage: _("This file is not an image."),
    ImageTooLarge: _("This image is too large. Upload a smaller copy."),
    ImageTooComplex: _("This image has so many parts that opening it would take too long. Save it anew."),
    FormatNotAllowed: _("Images of this format are not accepted. Save it as JPEG or PNG."),
    ImageUnreadable: _("This image is damaged or cut short."),
    CropTooSmall: _("This part of the picture has too few pixels to search with. Mark a larger part."),
    DecoderCrashed: _TROUBLE,
    DecoderTimeout: _TROUBLE,
    Busy: _("Other searches are having their pictures opened. Search again in a moment."),
}


class TagsInput(forms.TextInput):
    """One line for all tags; in an address they may also be given one by one."""

    def value_from_datadict(self, data: Mapping[str, Any], files: Any, name: str) -> Any:
        if isinstance(data, MultiValueDict):
            return ", ".join(data.getlist(name)) if name in data else None
        return data.get(name)


def _admin_tags() -> TagsInput:
    return TagsInput(attrs={"class": "vTextField"})


class TagsField(forms.CharField):
    """Tags, separated by commas."""

    widget = TagsInput

    def to_python(self, value: Any) -> list[str]:  # type: ignore[override]
        text = ", ".join(value) if isinstance(value, list | tuple) else super().to_python(value) or ""
        return list(dict.fromkeys(tag for part in _SEPARATORS.split(text) if (tag := part.strip())))

    def prepare_value(self, value: Any) -> Any:
        return ", ".join(value) if isinstance(value, list | tuple) else value

    def run_validators(self, value: Any) -> None:
        super().run_validators(", ".join(value))
        if long := [tag for tag in value if len(tag) > LONGEST_TAG]:
            raise ValidationError(
                _("The tag “%(tag)s…” is too long: a tag has at most %(limit)d characters."),
                params={"tag": long[0][:20], "limit": LONGEST_TAG},
            )

    def has_changed(self, initial: Any, data: Any) -> bool:
        return self.to_python(initial or "") != self.to_python(data or "")


class PictureField(forms.FileField):
    """An upload that is proved to be a picture, by a process that it may crash.

    Django's ImageField would decode it in the web process.
    """

    def to_python(self, data: Any) -> Upload | None:
        upload = cast("Upload | None", super().to_python(data))
        if upload is not None:
            verify(upload)
        return upload


def verify(upload: Upload) -> None:
    """Return, at the file's start, if it is a picture that can be indexed. Raises ValidationError."""
    check_size(upload)
    try:
        upload.seek(0)
        opener.verify(opener.load(upload))  # type: ignore[arg-type]
    except Unavailable as error:
        raise ValidationError(
            _("This file can't be checked now: %(reason)s Try again in a moment."), "unavailable", {"reason": error}
        ) from error
    except MediaSearchError as error:
        raise ValidationError(sentence(error), "refused") from error
    finally:
        upload.seek(0)


def check_size(upload: Upload) -> None:
    """Return if a file is small enough to be read. Raises ValidationError."""
    limit = conf.settings().max_bytes
    if (upload.size or 0) > limit:
        raise ValidationError(
            _("This file has %(size)s MB; at most %(limit)s MB are accepted. Upload a smaller copy."),
            "too_large",
            {"size": f"{(upload.size or 0) / 1e6:.1f}", "limit": f"{limit / 1e6:g}"},
        )


def sentence(error: BaseException) -> str:
    """Return what is wrong with a file, or why it is not opened: the error's words, or a translation of its kind."""
    if isinstance(error, PictureRefused) and error.__cause__:
        error = error.__cause__
    general = _REFUSALS.get(type(error))
    return str(error) if general is None or (get_language() or "en").startswith("en") else str(general)


class AssetForm(forms.ModelForm):  # type: ignore[type-arg]
    """One picture of the library."""

    file = PictureField(label=_("File"), widget=forms.FileInput(attrs={"accept": "image/*"}))
    tags = TagsField(label=_("Tags"), required=False, help_text=_("Separated by commas."), widget=_admin_tags())

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in self._adopted():
            # The page tells what it showed: workers may fill these in while somebody looks at it.
            self.fields[name].show_hidden_initial = self.instance.pk is not None

    def clean(self) -> dict[str, Any]:
        """Leave alone what was not changed since the page was shown."""
        cleaned = super().clean() or self.cleaned_data
        for name in self._adopted() - {*self.changed_data}:
            if self._was_shown(name):
                cleaned[name] = getattr(self.instance, name)
        return cleaned

    def _post_clean(self) -> None:
        """Store the file of a form without errors now, while there still is a page to say that there is no room."""
        super()._post_clean()  # type: ignore[misc]
        if not self.errors:
            try:
                self.instance.store_file()
            except OSError as error:
                self.add_error("file", _unstored(error))

    def _was_shown(self, name: str) -> bool:
        """Does the page tell what it showed in a field?"""
        hidden = self.fields[name].hidden_widget()
        return not hidden.value_omitted_from_data(self.data, self.files, self.add_initial_prefix(name))

    def _adopted(self) -> frozenset[str]:
        return Asset.ADOPTED & {*self.fields}

    class Meta:
        model = Asset
        fields: ClassVar = [
            "file", "title", "alt_text", "caption", "category", "tags", "language", "copyright", "owner", "is_public",
            "taken_at",
        ]  # fmt: skip


class PicturesInput(forms.FileInput):
    """A file input that takes several files."""

    allow_multiple_selected = True


class PicturesField(forms.FileField):
    """Several uploads; each is checked by itself, so that one bad file does not cost the others."""

    widget = PicturesInput

    def clean(self, data: Any, initial: Any = None) -> tuple[list[Upload], list[str]]:
        """Return the pictures, and a sentence for each file that is refused."""
        uploads = data or []
        if not uploads:
            raise ValidationError(self.error_messages["required"], "required")
        single = PictureField(max_length=255)
        good: list[Upload] = []
        refused: list[str] = []
        for upload in uploads:
            try:
                single.clean(upload)
            except ValidationError as error:
                said = {"name": upload.name, "reason": " ".join(error.messages)}
                refused.append(gettext("“%(name)s” was refused: %(reason)s") % said)
            else:
                good.append(upload)
        return good, refused


class UploadForm(forms.Form):
    """Several pictures at once, and what they share."""

    pictures = PicturesField(label=_("Files"), widget=PicturesInput(attrs={"accept": "image/*"}))
    category = forms.CharField(label=_("Category"), required=False, max_length=LONGEST_TAG)
    tags = TagsField(label=_("Tags"), required=False, help_text=_("Separated by commas."), widget=_admin_tags())
    is_public = forms.BooleanField(
        label=_("Public"), required=False, initial=True, help_text=_("Visitors who are not logged in see it, too.")
    )

    def save(self, owner: Any) -> tuple[list[Asset], list[str]]:
        """Store the good pictures; return them, and a sentence for each file that was refused or found no room."""
        cleaned = self.cleaned_data
        pictures, refused = cleaned["pictures"]
        shared = {name: cleaned[name] for name in ("category", "tags", "is_public")}
        assets: list[Asset] = []
        for picture in pictures:
            try:
                assets.append(Asset.objects.create(file=picture, owner=owner, **shared))
            except OSError as error:
                reason = {"name": picture.name, "reason": _unstored(error)}
                refused.append(gettext("“%(name)s” was not stored: %(reason)s") % reason)
        return assets, refused


def _unstored(error: OSError) -> str:
    """Return why the storage did not take a file."""
    extra = {"event": "file-unstored", "fault": type(error).__name__}
    logger.error("A file could not be stored: %s", error, extra=extra)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return gettext("There is no room left for files. Make room, or ask who runs this site.")
    return gettext("The file storage does not take it. Try again in a moment, or ask who runs this site.")


def added(count: int) -> str:
    """Say how many pictures were added."""
    return ngettext("%(count)d image was added.", "%(count)d images were added.", count) % {"count": count}
