"""What every source must do, whichever way it keeps its images.

Extend `SourceBehaviour` in a test module, give it the fixtures `source` and `make`, and every promise is tested.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, Permission, User
from django.db.models import QuerySet

from mediasearch.models import Asset
from mediasearch.sources import registry
from mediasearch.sources.base import Source, Texts

Make = Callable[..., Asset]


@pytest.mark.django_db
class SourceBehaviour:
    """`make(data, *, public, owner, **texts)` stores one image the way the source does, and returns its asset."""

    def test_slug__is_registered(self, source: Source) -> None:
        assert registry.all_sources().count(source) == 1
        assert source.slug == source.slug.lower()

    def test_open__gives_the_bytes(self, source: Source, make: Make, data: bytes) -> None:
        with source.open(make(data)) as stream:
            assert stream.read() == data

    def test_open__twice(self, source: Source, make: Make, data: bytes) -> None:
        asset = make(data)
        with source.open(asset) as first, source.open(asset) as second:
            assert first.read() == second.read() == data

    def test_open__a_missing_file(self, source: Source, make: Make, data: bytes, lose_file: Any) -> None:
        asset = make(data)
        lose_file(asset)
        with pytest.raises(FileNotFoundError):
            source.open(asset)

    def test_texts(self, source: Source, make: Make, data: bytes) -> None:
        texts = source.texts(make(data, title="Ein Boot"))
        assert isinstance(texts, Texts)
        assert texts.title == "Ein Boot"

    def test_visible_to__visitors_see_what_is_public(self, source: Source, make: Make, data: bytes) -> None:
        public, hidden = make(data), make(data, public=False)
        for visitor in (None, AnonymousUser()):
            visible = source.visible_to(visitor)
            assert isinstance(visible, QuerySet)
            assert public in visible
            assert hidden not in visible

    def test_visible_to__owners_see_their_own(self, source: Source, make: Make, data: bytes) -> None:
        owner = User.objects.create_user("owner")
        own, others = make(data, public=False, owner=owner), make(data, public=False)
        assert own in source.visible_to(owner)
        assert others not in source.visible_to(owner)

    def test_visible_to__editors_see_all(self, source: Source, make: Make, data: bytes, editor: User) -> None:
        assert make(data, public=False) in source.visible_to(editor)

    def test_visible_to__a_locked_account_sees_what_visitors_see(
        self, source: Source, make: Make, data: bytes, editor: User
    ) -> None:
        hidden = make(data, public=False)
        User.objects.filter(pk=editor.pk).update(is_active=False)
        assert hidden not in source.visible_to(User.objects.get(pk=editor.pk))

    def test_visible_to__only_this_source(self, source: Source, data: bytes, make: Make, editor: User) -> None:
        stranger = Asset.objects.create(source="elsewhere", object_id=1)
        make(data)
        assert stranger not in source.visible_to(editor)
        assert stranger not in registry.visible_to(editor)

    def test_thumbnail_url__empty_until_there_is_one(self, source: Source, make: Make, data: bytes) -> None:
        assert isinstance(source.thumbnail_url(make(data)), str)

    def test_edit_url(self, source: Source, make: Make, data: bytes) -> None:
        assert source.edit_url(make(data)).startswith("/")

    def test_check__is_a_list(self, source: Source) -> None:
        assert source.check() == []


@pytest.fixture
def editor(db: None) -> User:
    user = User.objects.create_user("editor")
    user.user_permissions.add(Permission.objects.get(codename="view_asset"))
    return user
