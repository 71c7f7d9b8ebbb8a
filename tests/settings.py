"""The demo site's settings on throw-away services, with the fake encoder: for tests that are not about the model."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

if "MEDIASEARCH_DATA" not in os.environ:
    os.environ["MEDIASEARCH_DATA"] = tempfile.mkdtemp(prefix="mediasearch-test-")
    atexit.register(shutil.rmtree, os.environ["MEDIASEARCH_DATA"], ignore_errors=True)
DATA = Path(os.environ["MEDIASEARCH_DATA"])
# Set in the environment, for the processes that tests start have the same.
if "DATABASE_URL" not in os.environ:
    from project.services import start_postgres

    os.environ["DATABASE_URL"] = start_postgres(Path(__file__).resolve().parent.parent / ".test" / "postgres")
if "REDIS_URL" not in os.environ:
    from project.services import start_valkey

    os.environ["REDIS_URL"] = start_valkey(DATA / "valkey").url

from project.settings import *  # noqa: E402, F403
from project.settings import QUEUE_PREFIX  # noqa: E402

MEDIA_ROOT = DATA / "media"
STATIC_ROOT = DATA / "static"
STATIC_ROOT.mkdir(parents=True, exist_ok=True)  # WhiteNoise warns of a folder that is not there.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
MEDIASEARCH = {
    "ENCODER": {"BACKEND": "mediasearch.features.fake.FakeEncoder"},
    "QUERY_ENCODER": {"BACKEND": "mediasearch.features.local.Local"},
    "READER": {"BACKEND": "mediasearch.features.fake.FakeReader"},
    "QUEUE_PREFIX": QUEUE_PREFIX,
    "RATE": None,  # All tests come from one address.
    "QUESTION_SECONDS": 20.0,  # No test is about how busy the machine is.
}
