"""Addresses of services as hosting platforms give them."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit


def other_number(url: str) -> str:
    """Return the address of another database of the same Redis or Valkey: the one that follows."""
    parts = urlsplit(url)
    number = parts.path.lstrip("/")
    return parts._replace(path=f"/{int(number) + 1 if number.isdecimal() else 1}").geturl()


def database(url: str) -> dict[str, Any]:
    """Return Django's database settings for postgresql://user:password@host:port/name?host=/socket/folder."""
    parts = urlsplit(url)
    options = {key: values[-1] for key, values in parse_qs(parts.query).items()}
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(parts.path.lstrip("/")) or "postgres",
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": options.pop("host", "") or parts.hostname or "",
        "PORT": str(parts.port or ""),
        "CONN_MAX_AGE": 60,
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": options,
    }
