"""What is wrong with where files are kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.core.checks import CheckMessage, Warning, register
from django.core.files.storage import FileSystemStorage, InvalidStorageError, Storage, storages
from django.urls import get_script_prefix

from mediasearch import conf, naming
from mediasearch.exceptions import ImproperlySet

_HINT = (
    'Add {"BACKEND": "mediasearch.storages.PrivateStorage", "OPTIONS": {"location": "/a/folder/of/its/own"}} to'
    ' STORAGES, name that entry in MEDIASEARCH["STORAGE"], and move the folder mediasearch/ there; docs/deployment.md'
    " has the steps, and other storages. If every picture of yours is public, silence this check."
)


@register()
def check_local_storage(app_configs: Sequence[Any] | None, **_: Any) -> list[CheckMessage]:
    """W014: whoever knows the media address of a private picture, or of its thumbnail, sees it."""
    storage = _storage()
    return _check_addresses(storage) if isinstance(storage, FileSystemStorage) else []


@register(deploy=True)
def check_remote_storage(app_configs: Sequence[Any] | None, **_: Any) -> list[CheckMessage]:
    """W014 of a storage elsewhere, whose library may go and ask for credentials before it names an address."""
    storage = _storage()
    return [] if storage is None or isinstance(storage, FileSystemStorage) else _check_addresses(storage)


def _storage() -> Storage | None:
    try:
        return storages[conf.settings().storage]
    except (ImproperlySet, InvalidStorageError):
        return None  # Another check says so, or Django itself.


def _check_addresses(storage: Storage) -> list[CheckMessage]:
    address = _lasting_address(storage, naming.thumbnail_name())
    if not address:
        return []
    return [
        Warning(
            f"The storage of mediasearch's files gives addresses that ask nobody for permission, such as {address}:"
            " whoever knows one sees a private picture, or its thumbnail, also those of pictures of other sources.",
            hint=_HINT,
            id="mediasearch.W014",
        )
    ]


def _lasting_address(storage: Storage, name: str) -> str:
    """Return a file's address that anybody may be told, "" where there is none, or one that is signed and expires."""
    if getattr(storage, "base_url", None) == get_script_prefix():
        return ""  # MEDIA_URL is not set: such an address leads nowhere.
    try:
        address = storage.url(name)
    except Exception:  # Whatever a storage raises that has no address for it.
        return ""
    return "" if "?" in address else address
