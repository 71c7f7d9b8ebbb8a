"""The tests' settings with Django's own pool of connections, and a storage that asks the database where a file is."""

from __future__ import annotations

import os
from typing import Any

from django.core.files.storage import FileSystemStorage

from tests.settings import *  # noqa: F403
from tests.settings import DATABASES

SIZE = int(os.environ.get("POOL_SIZE", "2"))
DATABASES["default"]["CONN_MAX_AGE"] = 0
DATABASES["default"]["OPTIONS"]["pool"] = {"min_size": 1, "max_size": SIZE, "timeout": 10}


class Asking(FileSystemStorage):
    """As sources do that keep the places of their files in the database."""

    def _open(self, name: str, mode: str = "rb") -> Any:
        from mediasearch.models import Asset

        assert Asset.objects.filter(file=name).exists()
        return super()._open(name, mode)


STORAGES = {
    "default": {"BACKEND": "tests.pooled.Asking"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
