"""The demo site's settings on throw-away services, with the fake encoder: for tests that are not about the model."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

DATA = Path(os.environ.setdefault("MEDIASEARCH_DATA", tempfile.mkdtemp(prefix="mediasearch-test-")))
if "DATABASE_URL" not in os.environ:
    from project.services import start_postgres

    # Set for the processes that tests start, too.
    os.environ["DATABASE_URL"] = start_postgres(Path(__file__).resolve().parent.parent / ".test" / "postgres")

from project.settings import *  # noqa: E402, F403

MEDIA_ROOT = DATA / "media"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
CELERY_BROKER_URL = os.environ.get("REDIS_URL", "memory://")
CELERY_RESULT_BACKEND = os.environ.get("REDIS_URL", "cache+memory://")
MEDIASEARCH = {
    "ENCODER": {"BACKEND": "mediasearch.features.fake.FakeEncoder"},
    "QUERY_ENCODER": {"BACKEND": "mediasearch.features.local.Local"},
    "READER": {"BACKEND": "mediasearch.features.fake.FakeReader"},
}
