"""What mediasearch needs to know of a place where images live."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, BinaryIO

from django.db.models import QuerySet

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser, AnonymousUser

    from mediasearch.models import Asset


UNTOUCHED = "mediasearch.download_untouched"
"""The permission to have files with all their metadata."""


@dataclass(frozen=True, slots=True)
class Texts:
    """What people wrote about a picture; each is searched, and shown where it matched."""

    title: str = ""
    alt_text: str = ""
    caption: str = ""
    category: str = ""
    tags: tuple[str, ...] = ()
    language: str = ""
    taken_at: datetime | None = None


class Source(ABC):
    """The adapter to one place where images live.

    A site registers a subclass with `mediasearch.register`; every method is asked about assets of this source only.
    """

    slug: str
    """Names the source in `Asset.source`; lower case, never changed later."""
    verbose_name: str = ""
    """Names the source to people; the slug where empty."""

    @abstractmethod
    def open(self, asset: Asset) -> BinaryIO:
        """Return the picture's file, opened for reading at its start, through the storage API.

        Raises FileNotFoundError where there is no such file; whatever else it raises, the storage does not answer.
        """

    @abstractmethod
    def texts(self, asset: Asset) -> Texts:
        """Return what people wrote about the picture."""

    @abstractmethod
    def visible_to(self, user: AbstractBaseUser | AnonymousUser | None) -> QuerySet[Asset]:
        """Return the assets of this source that a user may see; None is a visitor who is not logged in.

        It becomes part of every search's SQL, so it must be a queryset without slices.
        """

    def sends_untouched(self, asset: Asset, user: AbstractBaseUser | AnonymousUser | None) -> bool:
        """Return whether a user, who may see the picture, may have its file with all that it says.

        That is where it was taken, with which device, and whose that is. Others get a copy without: docs/disclosure.md.
        By default the asset's owner may, and who has the permission `mediasearch.download_untouched`.
        """
        if user is None or not user.is_authenticated or not user.is_active:
            return False
        return asset.owner_id == user.pk or bool(user.has_perm(UNTOUCHED))  # type: ignore[attr-defined]

    def visible_parts(self, user: AbstractBaseUser | AnonymousUser | None) -> Sequence[QuerySet[Asset]]:
        """Return querysets that are `visible_to` together; an asset may be in several.

        Where that one joins conditions by OR, no index answers all of it, and one for each condition does: so what is
        hidden costs nothing.
        """
        return [self.visible_to(user)]

    @abstractmethod
    def thumbnail_url(self, asset: Asset) -> str:
        """Return the address of a small picture, or "" while there is none."""

    @abstractmethod
    def edit_url(self, asset: Asset) -> str:
        """Return the address where an editor changes this picture, or ""."""

    def check(self) -> list[Any]:
        """Return system check messages about this source."""
        return []
