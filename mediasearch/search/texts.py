"""The single texts of assets, each with where it is from."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from mediasearch.features import titles
from mediasearch.models import Asset
from mediasearch.search.descriptions import Origin

_FRESH = 256
"""Texts without a stored vector that are gathered from all assets together."""
_OF_ONE = 20
"""Tags, and lines of OCR, that are taken from one asset."""

Origins = dict[str, list[Origin]]
"""Distinct texts, in the order in which they were met."""


def of_asset(asset: Asset) -> Iterator[tuple[str, str]]:
    """Yield the kind of each text, and the text."""
    said = (
        ("title", [titles.words(asset.title)]),
        ("alt_text", [asset.alt_text]),
        ("caption", [asset.caption]),
        ("tag", asset.tags[:_OF_ONE]),
        ("ocr_line", asset.ocr_text.splitlines()[:_OF_ONE]),
    )
    for kind, values in said:
        for value in values:
            if any(character.isalnum() for character in value):
                yield kind, value.strip()


def gather(assets: Iterable[Asset], stored: Collection[str]) -> Origins:
    """Return all texts of these assets, the first assets first; a bounded number of those that are not stored."""
    origins: Origins = {}
    fresh = 0
    for asset in assets:
        for kind, text in of_asset(asset):
            if text not in origins and text not in stored:
                if fresh == _FRESH:
                    continue
                fresh += 1
            origins.setdefault(text, []).append(Origin(kind, asset))
    return origins


def whole(assets: Iterable[Asset]) -> Origins:
    """Return what is said of each of these assets as one text."""
    origins: Origins = {}
    for asset in assets:
        kind = next((kind for kind, text in of_asset(asset) if text == asset.description), "description")
        origins.setdefault(asset.description, []).append(Origin(kind, asset))
    return origins
