"""Settings of the demo site, from the environment; docs/deployment.md explains each variable."""

from __future__ import annotations

import os
from pathlib import Path

from project.addresses import database, other_number

BASE = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("MEDIASEARCH_DATA", BASE / ".demo"))
MODEL = os.environ.get("MEDIASEARCH_MODEL", f"local-dir:{DATA / 'mini-clip'}")
PRETRAINED = os.environ.get("MEDIASEARCH_PRETRAINED")

DEBUG = os.environ.get("DEBUG", "") == "1"
SECRET_KEY = os.environ.get("SECRET_KEY", "for-the-demo-only")
ALLOWED_HOSTS = os.environ.get("ALLOWED_HOSTS", "localhost,127.0.0.1").split(",")
CSRF_TRUSTED_ORIGINS = [origin for origin in os.environ.get("CSRF_TRUSTED_ORIGINS", "").split(",") if origin]

INSTALLED_APPS = [
    "mediasearch",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.postgres",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "project.urls"
WSGI_APPLICATION = "project.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

DATABASES = {"default": database(os.environ.get("DATABASE_URL", "postgresql://postgres@localhost/mediasearch"))}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

REDIS_URL = os.environ.get("REDIS_URL", "redis://localhost:6379/0")
CELERY_BROKER_URL = CELERY_RESULT_BACKEND = REDIS_URL
QUEUE_PREFIX = os.environ.get("QUEUE_PREFIX", "mediasearch")
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": os.environ.get("CACHE_URL") or other_number(REDIS_URL),
        "OPTIONS": {"socket_connect_timeout": 0.25, "socket_timeout": 0.25},  # Searches wait so long for it.
    }
}
CELERY_RESULT_EXPIRES = 60
# A worker fetches a message when one of its processes is free, and counts none: an acknowledgement that a hanging
# broker did not take would count for ever, and a worker that may hold one message would never fetch another.
CELERY_WORKER_PREFETCH_MULTIPLIER, CELERY_WORKER_DISABLE_PREFETCH = 0, True
CELERY_WORKER_SOFT_SHUTDOWN_TIMEOUT = 5.0
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_TRANSPORT_OPTIONS = {"socket_connect_timeout": 2, "socket_timeout": 30}
CELERY_BEAT_SCHEDULE = {
    "mediasearch-sweep": {
        "task": "mediasearch.sweep",
        "schedule": 5.0,
        "options": {"queue": f"{QUEUE_PREFIX}.embed", "expires": 5.0},
    }
}

LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English"), ("zh-hans", "简体中文")]
TIME_ZONE = "UTC"
USE_TZ = True
STATIC_URL = "static/"
STATIC_ROOT = Path(os.environ.get("STATIC_ROOT", DATA / "static"))
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
    "private": {"BACKEND": "mediasearch.storages.PrivateStorage", "OPTIONS": {"location": DATA / "media"}},
}
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "root": {"handlers": ["console"], "level": "WARNING"},
    "loggers": {"mediasearch": {"level": "INFO"}},
}

MEDIASEARCH = {
    "STORAGE": "private",
    "ENCODER": {
        "BACKEND": "mediasearch.features.openclip.OpenClip",
        "OPTIONS": {"model": MODEL, "pretrained": PRETRAINED, "threads": 2},
    },
    "QUEUE_PREFIX": QUEUE_PREFIX,
    "PROXIES": int(os.environ.get("PROXIES", "0")),
}
