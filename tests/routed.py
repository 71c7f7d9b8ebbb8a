"""The tests' settings with a router that gives mediasearch a database of its own."""

from __future__ import annotations

from tests.settings import *  # noqa: F403
from tests.settings import DATABASES

DATABASES["media"] = DATABASES["default"] | {"NAME": "media"}
DATABASE_ROUTERS = ["tests.test_checks.Apart"]
