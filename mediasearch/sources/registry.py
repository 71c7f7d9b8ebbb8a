"""The sources that this site has."""

from __future__ import annotations

from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, cast

from django.utils.module_loading import autodiscover_modules

from mediasearch.exceptions import ImproperlySet
from mediasearch.models import Asset
from mediasearch.querysets import AssetQuerySet
from mediasearch.sources.base import Source

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser, AnonymousUser

_sources: dict[str, Source] = {}


def register(source: type[Source]) -> type[Source]:
    """Make a source known; use it as a decorator, in a module `mediasearch_sources.py` of any installed app."""
    slug = getattr(source, "slug", "")
    if not slug:
        raise ImproperlySet(f"{source.__name__} needs a slug.")
    if slug in _sources and type(_sources[slug]) is not source:
        raise ImproperlySet(f'Two sources have the slug "{slug}": give {source.__name__} another.')
    _sources[slug] = source()
    return source


def unregister(slug: str) -> None:
    """Forget a source; its assets stay, and nobody sees them."""
    _sources.pop(slug, None)


def autodiscover() -> None:
    """Import the built-in source and every installed app's `mediasearch_sources`."""
    from mediasearch.sources import library

    register(library.Library)
    autodiscover_modules("mediasearch_sources")


def all_sources() -> list[Source]:
    return list(_sources.values())


def source_of(asset: Asset) -> Source:
    """Return the source of an asset. Raises ImproperlySet where the site no longer has it."""
    try:
        return _sources[asset.source]
    except KeyError:
        raise ImproperlySet(
            f'No source "{asset.source}" is registered, yet asset {asset.pk} belongs to it. '
            "Register it in a mediasearch_sources.py, or delete its assets."
        ) from None


def name_of(user: AbstractBaseUser | AnonymousUser | None) -> str:
    """Return the primary key of a user; "" for visitors who are not logged in, who all see the same."""
    return str(user.pk) if user is not None and user.is_authenticated else ""


def visible_to(user: AbstractBaseUser | AnonymousUser | None) -> AssetQuerySet:
    """Return the assets that a user may see, over all sources; what no source vouches for is hidden."""
    scopes = (source.visible_to(user).filter(source=slug) for slug, source in _sources.items())
    return reduce(or_, scopes, Asset.objects.none())


def visible_parts(user: AbstractBaseUser | AnonymousUser | None) -> list[AssetQuerySet]:
    """Return querysets that are `visible_to` together."""
    return [
        cast("AssetQuerySet", part.filter(source=slug))
        for slug, source in _sources.items()
        for part in (source.visible_parts(user) if _has_own_parts(source) else [source.visible_to(user)])
    ]


def _has_own_parts(source: Source) -> bool:
    """Return whether `visible_parts` was written for this `visible_to`, and not for one that a subclass narrowed."""
    lowest = next(one for one in type(source).__mro__ if {"visible_to", "visible_parts"} & vars(one).keys())
    return "visible_parts" in vars(lowest)
