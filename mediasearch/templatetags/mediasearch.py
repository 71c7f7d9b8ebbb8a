"""What the templates say about pictures and hits: `{% load mediasearch %}`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django import template
from django.urls import NoReverseMatch, reverse
from django.utils import formats
from django.utils.translation import gettext_lazy as _

from mediasearch import conf
from mediasearch.models import Asset
from mediasearch.search.results import Hit
from mediasearch.sources.registry import source_of

register = template.Library()

SIGNALS: dict[str, Any] = {
    "image": _("Appearance"),
    "caption": _("Description"),
    "text": _("Words"),
    "rerank": _("Second judgement"),
}
_BAR = 100.0
_NARROWEST, _WIDEST = 0.9, 1.9


@register.filter
def signal(name: str) -> Any:
    """Return what people call a signal."""
    return SIGNALS.get(name, name)


@register.filter
def grouped(value: Any, digits: int = 0) -> str:
    """Return a number with its thousands apart, as the reader's language writes it."""
    return formats.number_format(value, digits, use_l10n=True, force_grouping=True)


@register.filter
def described(asset: Asset) -> str:
    """Return the text that stands for a picture where it can't be seen."""
    return asset.alt_text or asset.title or asset.caption


@register.filter
def megabytes(size: int) -> str:
    """Return a file's size."""
    return (
        f"{formats.number_format(size / 1e6, 1)} MB"
        if size >= 100_000
        else f"{formats.number_format(size / 1e3, 0)} kB"
    )


@register.filter
def duration(seconds: float) -> str:
    """Return a length of time in at most six characters."""
    for unit, size, most in (("s", 1, 100), ("min", 60, 100), ("h", 3_600, 72)):
        if seconds / size < most:
            return f"{seconds / size:.0f} {unit}"
    days = seconds / 86_400
    return f"{days:.0f} d" if days < 1_000 else ">999 d"


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A small picture's address and size; no address while there is none."""

    url: str
    width: int
    height: int
    is_odd: bool
    """Whether its shape is so far from a tile's that filling the tile would cut off too much."""


@register.simple_tag
def thumbnail(asset: Asset, longest: int = 0) -> Thumbnail:
    """Return an asset's thumbnail, within `longest` pixels."""
    longest = longest or conf.settings().thumbnail_size
    width, height = asset.width or 4, asset.height or 3
    scale = min(longest / max(width, height), 1.0) if asset.width else longest / 4
    ratio = width / height
    return Thumbnail(
        source_of(asset).thumbnail_url(asset),
        max(round(width * scale), 1),
        max(round(height * scale), 1),
        not _NARROWEST <= ratio <= _WIDEST,
    )


@dataclass(frozen=True, slots=True)
class Row:
    """What one signal says about a hit, ready to be shown."""

    signal: str
    score: str
    normalized: str
    rank: int | None
    share: int
    start: str
    width: str


@register.simple_tag
def evidence(hit: Hit, best: float = 0.0) -> list[Row]:
    """Return a row for each signal that spoke for a hit.

    `start` and `width` are its part of a bar, which is 100 wide for a hit with the `best` score.
    """
    rows: list[Row] = []
    full = _BAR * hit.score / max(best, hit.score, 1e-9)
    start = 0.0
    for name, said in hit.signals.items():
        width = said.share * full
        score, normalized = formats.number_format(said.score, 3), formats.number_format(said.normalized, 2)
        rows.append(Row(name, score, normalized, said.rank, round(said.share * 100), f"{start:.1f}", f"{width:.1f}"))
        start += width
    return rows


@register.simple_tag
def admin_url(name: str) -> str:
    """Return the address of an admin page, or "" where the site has no admin."""
    try:
        return reverse(f"admin:mediasearch_{name}")
    except NoReverseMatch:
        return ""
