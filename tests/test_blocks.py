from __future__ import annotations

import time

import psycopg
import pytest
from django.db import connection

from mediasearch.management import blocks
from tests.elsewhere import address

pytestmark = pytest.mark.django_db(transaction=True)
KEY = 4_711


def test_told__whom_a_statement_waits_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "EVERY", 0.1)
    said: list[str] = []
    with psycopg.connect(address(connection.settings_dict["NAME"])) as other:
        other.execute("SELECT pg_advisory_xact_lock(%s)", [KEY])

        def say(sentence: str) -> None:
            said.append(sentence)
            other.rollback()

        with blocks.told(say), connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(%s), pg_advisory_unlock(%s)", [KEY, KEY])
        assert len(said) == 1
        assert f"Waiting for process {other.info.backend_pid} of PostgreSQL" in said[0]
        assert ", idle in transaction, whose transaction is open since 20" in said[0]


def test_told__nothing_where_nobody_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "EVERY", 0.05)
    said: list[str] = []
    with psycopg.connect(address(connection.settings_dict["NAME"])) as other:
        other.execute("SELECT pg_advisory_xact_lock(%s)", [KEY])
        with blocks.told(said.append):
            time.sleep(0.3)
    assert said == []
