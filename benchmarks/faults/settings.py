"""The demo site on services of its own that may be killed, with the fake encoder and what an experiment asks for."""

from __future__ import annotations

import json
import os
from pathlib import Path

from project.addresses import database
from project.settings import *  # noqa: F403
from project.settings import DATA, DATABASES, INSTALLED_APPS, LOGGING, QUEUE_PREFIX, STORAGES

INSTALLED_APPS += ["benchmarks.faults.counting"]
STATIC_ROOT = DATA / "static"
Path(STATIC_ROOT).mkdir(parents=True, exist_ok=True)
MEDIA_ROOT = DATA / "media"
STORAGES = {
    **STORAGES,
    "default": {"BACKEND": "benchmarks.faults.storages.Troubled"},
}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
if replica := os.environ.get("FAULTS_REPLICA"):
    DATABASES["replica"] = database(replica)
    DATABASE_ROUTERS = ["benchmarks.faults.routers.Replica"]
globals().update(json.loads(os.environ.get("FAULTS_SETTINGS", "{}")))
MEDIASEARCH = {
    "ENCODER": {"BACKEND": "mediasearch.features.fake.FakeEncoder"},
    "QUERY_ENCODER": {"BACKEND": "mediasearch.features.local.Local"},
    "READER": {"BACKEND": "mediasearch.features.fake.FakeReader"},
    "QUEUE_PREFIX": QUEUE_PREFIX,
    "RATE": None,  # All visitors come from one address.
    **json.loads(os.environ.get("FAULTS_MEDIASEARCH", "{}")),
}
if os.environ.get("FAULTS_LOGS") == "json":
    LOGGING["formatters"] = {"json": {"()": "pythonjsonlogger.json.JsonFormatter"}}
    LOGGING["handlers"]["console"]["formatter"] = "json"
    CELERY_WORKER_HIJACK_ROOT_LOGGER = False
