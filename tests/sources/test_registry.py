from __future__ import annotations

from collections.abc import Iterator

import pytest

import mediasearch
from mediasearch.exceptions import ImproperlySet
from mediasearch.models import Asset
from mediasearch.sources import registry
from mediasearch.sources.library import Library


class Elsewhere(Library):
    """A second place, whose images nobody may see but who asks by name."""

    slug = "elsewhere"


@pytest.fixture
def elsewhere() -> Iterator[None]:
    mediasearch.register(Elsewhere)
    yield
    registry.unregister("elsewhere")


@pytest.mark.usefixtures("elsewhere")
def test_register__is_known() -> None:
    assert isinstance(registry.source_of(Asset(source="elsewhere")), Elsewhere)


@pytest.mark.usefixtures("elsewhere")
def test_register__a_slug_once() -> None:
    class Thief(Library):
        slug = "elsewhere"

    with pytest.raises(ImproperlySet, match="another"):
        mediasearch.register(Thief)


def test_register__needs_a_slug() -> None:
    class Nameless(Library):
        slug = ""

    with pytest.raises(ImproperlySet, match="needs a slug"):
        mediasearch.register(Nameless)


def test_source_of__unknown() -> None:
    with pytest.raises(ImproperlySet, match='No source "gone" is registered'):
        registry.source_of(Asset(source="gone", pk=7))


def test_visible_to__an_unknown_source_is_hidden(db: None) -> None:
    asset = Asset.objects.create(source="gone", object_id=1)
    assert asset not in registry.visible_to(None)
