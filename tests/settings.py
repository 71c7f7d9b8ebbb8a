"""The demo site's settings on throw-away services, with the fake encoder: for tests that are not about the model."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

DATA = Path(os.environ.setdefault("MEDIASEARCH_DATA", tempfile.mkdtemp(prefix="mediasearch-test-")))
# Set in the environment, for the processes that tests start have the same.
if "DATABASE_URL" not in os.environ:
    from project.services import start_postgres

    os.environ["DATABASE_URL"] = start_postgres(Path(__file__).resolve().parent.parent / ".test" / "postgres")
if "REDIS_URL" not in os.environ:
    from project.services import start_valkey

    os.environ["REDIS_URL"] = start_valkey(DATA / "valkey").url

from project.settings import *  # noqa: E402, F403

MEDIA_ROOT = DATA / "media"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
MEDIASEARCH = {
    "ENCODER": {"BACKEND": "mediasearch.features.fake.FakeEncoder"},
    "QUERY_ENCODER": {"BACKEND": "mediasearch.features.local.Local"},
    "READER": {"BACKEND": "mediasearch.features.fake.FakeReader"},
}
