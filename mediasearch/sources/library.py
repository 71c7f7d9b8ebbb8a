"""The built-in source: pictures that are kept by mediasearch itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, BinaryIO, cast

from django.db.models import Q
from django.urls import NoReverseMatch, reverse

from mediasearch.models import LIBRARY, Asset
from mediasearch.querysets import AssetQuerySet
from mediasearch.sources.base import Source, Texts

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser, AnonymousUser


class Library(Source):
    """Assets whose file, texts and permissions are columns of their own row."""

    slug = LIBRARY
    verbose_name = "Library"

    def open(self, asset: Asset) -> BinaryIO:
        if not asset.file.name:
            raise FileNotFoundError("This image has no file.")
        return cast(BinaryIO, asset.file.storage.open(asset.file.name, "rb"))

    def texts(self, asset: Asset) -> Texts:
        return Texts(
            asset.title,
            asset.alt_text,
            asset.caption,
            asset.category,
            tuple(asset.tags),
            asset.language,
            asset.taken_at,
        )

    def visible_to(self, user: AbstractBaseUser | AnonymousUser | None) -> AssetQuerySet:
        """Public pictures, a user's own, and all of them with the permission to view images."""
        assets = Asset.objects.filter(source=LIBRARY)
        if user is None or not user.is_authenticated:
            return assets.filter(is_public=True)
        if _may_view_all(user):
            return assets
        return assets.filter(Q(is_public=True) | Q(owner=user))

    def visible_parts(self, user: AbstractBaseUser | AnonymousUser | None) -> Sequence[AssetQuerySet]:
        """Return public pictures and a user's own apart; with the permission to view images, all of them."""
        public = Asset.objects.filter(source=LIBRARY, is_public=True)
        if user is None or not user.is_authenticated:
            return [public]
        if _may_view_all(user):
            return [Asset.objects.filter(source=LIBRARY)]
        return [public, Asset.objects.filter(source=LIBRARY, owner_id=user.pk)]

    def thumbnail_url(self, asset: Asset) -> str:
        return _reverse("mediasearch:thumbnail", asset, asset.content_hash[:12]) if asset.thumbnail else ""

    def edit_url(self, asset: Asset) -> str:
        return _reverse("admin:mediasearch_asset_change", asset)


def _may_view_all(user: AbstractBaseUser | AnonymousUser) -> bool:
    return user.is_active and bool(user.has_perm("mediasearch.view_asset"))  # type: ignore[attr-defined]


def _reverse(name: str, asset: Asset, version: str = "") -> str:
    """Return an address, or "" where the site has not included those URLs."""
    try:
        return reverse(name, args=[asset.pk]) + (f"?v={version}" if version else "")
    except NoReverseMatch:
        return ""
