"""Other databases on the tests' server, and processes that work on them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
from django.db import connection
from psycopg import sql

from tests.live import ROOT, environment

_PRELUDE = """
import json
import django
django.setup()
from django.core.management import call_command
import mediasearch
from mediasearch.indexing import indexes, worker
from mediasearch.models import *
def found(text, **options):
    return [[hit.asset.pk, round(hit.score, 9)] for hit in mediasearch.search(text, **options)]
def told(value):
    print()
    print(json.dumps(value))
"""


def address(database: str, user: str | None = None) -> str:
    """Where a database of the tests' server is."""
    place = connection.settings_dict
    return f"postgresql://{user or place['USER']}@/{database}?host={quote(place['HOST'], safe='')}"


@contextmanager
def new_database(name: str, owner: str | None = None) -> Iterator[str]:
    """A new empty database, gone afterwards with its owner; yields its address for the owner."""
    place = connection.settings_dict
    with psycopg.connect(address("postgres"), autocommit=True) as server:
        database, role = sql.Identifier(name), sql.Identifier(owner or place["USER"])
        drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(database)
        server.execute(drop)
        if owner:
            server.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(role))
            server.execute(sql.SQL("CREATE ROLE {} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE").format(role))
        server.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(database, role))
        try:
            yield address(name, owner)
        finally:
            server.execute(drop)
            if owner:
                server.execute(sql.SQL("DROP ROLE {}").format(role))


def run(script: str, url: str, data: Path) -> Any:
    """Run Python on a database in a process of its own; return what it told."""
    command = [sys.executable, "-c", _PRELUDE + script]
    env = environment(data, DATABASE_URL=url)
    ended = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=180, check=False)
    assert ended.returncode == 0, ended.stderr[-3_000:]
    return json.loads(ended.stdout.splitlines()[-1])
