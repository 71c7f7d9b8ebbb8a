from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import pytest
import redis
from django.core.checks import CheckMessage, run_checks
from django.core.files.storage import InMemoryStorage
from django.db import connection, router

from mediasearch import checks
from mediasearch.checks import caching, children, database, routing, storage
from mediasearch.features import landlock, opener
from mediasearch.indexing import generations
from mediasearch.models import Generation, Job
from project.services import start_valkey
from tests.conftest import picture
from tests.elsewhere import address, new_database, run
from tests.live import ROOT, environment
from tests.test_humble_role import SITE


def ids(messages: list[CheckMessage]) -> list[str | None]:
    return [message.id for message in messages]


def found(databases: list[str] | None = None) -> list[CheckMessage]:
    return [m for m in run_checks(databases=databases) if str(m.id).startswith("mediasearch")]


def test_check__a_sound_set_up_has_nothing_to_say(db: None) -> None:
    assert found(["default"]) == []


@pytest.mark.parametrize(
    ("value", "identifier", "sentence"),
    [
        ({"ENCODR": {}}, "mediasearch.E001", 'no key "ENCODR"'),
        ({"CANDIDATES": "many"}, "mediasearch.E001", "must be like 100"),
        ({"CANDIDATES": 0}, "mediasearch.E001", "above zero"),
        ({"RATE": "often"}, "mediasearch.E001", 'must be like "240/minute", or None'),
        ({"RATE": "0/minute"}, "mediasearch.E001", 'must be like "240/minute", or None'),
        ({"RATE": 5}, "mediasearch.E001", 'must be like "240/minute", or None'),
        ({"PROXIES": -1}, "mediasearch.E001", "above zero"),
        ({"ENCODER": "openclip"}, "mediasearch.E001", "must look like"),
        ({"ENCODER": {"BACKEND": "x.Y", "OPTION": {}}}, "mediasearch.E001", "OPTION"),
        ({"WEIGHTS": {"image": "much"}}, "mediasearch.E001", "0 or more"),
        ({"QUEUE_PREFIX": "my shop"}, "mediasearch.E001", "letters, digits and . _ -"),
        ({"QUEUE_PREFIX": ""}, "mediasearch.E001", "begins with a letter or digit"),
        ({"QUEUE_PREFIX": None}, "mediasearch.E001", "not None"),
        ([], "mediasearch.E001", "must be a dict"),
        ({"READER": {"BACKEND": "no.such.Reader"}}, "mediasearch.E002", "can't be imported"),
        (
            {"READER": {"BACKEND": "mediasearch.features.fake.FakeReader", "OPTIONS": {"x": 1}}},
            "mediasearch.E002",
            "OPTIONS",
        ),
        ({"READER": {"BACKEND": "mediasearch.features.fake.FakeEncoder"}}, "mediasearch.E002", "no TextReader"),
        ({"RERANKER": {"BACKEND": "mediasearch.features.fake.FakeReader"}}, "mediasearch.E002", "no Reranker"),
        (
            {"RERANKER": {"BACKEND": "mediasearch.features.reranking.Features", "OPTIONS": {"strength": -1}}},
            "mediasearch.E002",
            "above 0",
        ),
        ({"RERANK_SECONDS": 0}, "mediasearch.E001", "above zero"),
    ],
)
def test_check_settings(settings: Any, value: Any, identifier: str, sentence: str) -> None:
    settings.MEDIASEARCH = settings.MEDIASEARCH | value if isinstance(value, dict) else value
    (message,) = found()
    assert message.id == identifier
    assert sentence in message.msg
    assert message.hint


def test_check_children__a_real_child_of_each_kind() -> None:
    exposed = [message for message in run_checks(include_deployment_checks=True) if message.id == "mediasearch.W013"]
    assert [message.msg for message in exposed] == [] or landlock.version() < 6


def test_check_children__names_what_a_container_leaves_open(db: None, tmp_path: Path) -> None:
    code = """
import django
django.setup()
from mediasearch.checks import children
for message in children.check_children(None):
    print(message.id, message.msg, message.hint)
"""
    ended = subprocess.run(
        [sys.executable, "-m", "tests.features.blocked", code],
        env=environment(tmp_path),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    if ended.stderr.strip() == "no seccomp":
        pytest.skip("this kernel has no seccomp filters, or forbids them")
    assert ended.stdout.startswith("mediasearch.W013 A malicious file"), ended.stderr
    for what in ("settings", "database", "programs", "security.md"):
        assert what in ended.stdout


def test_check_children__that_do_not_start(settings: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(opener, "_sandboxes", {})  # Those of other tests have started.
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))
    (message,) = children.check_children(None)
    assert "does not start" in message.msg
    assert "gone" in message.msg


def test_check_apps__postgres(settings: Any) -> None:
    settings.INSTALLED_APPS = [app for app in settings.INSTALLED_APPS if app != "django.contrib.postgres"]
    assert "mediasearch.E003" in ids(found())


def test_check_database__not_postgresql(monkeypatch: pytest.MonkeyPatch, db: None) -> None:
    monkeypatch.setattr(connection, "vendor", "sqlite")
    (message,) = database.check_database(None, ["default"])
    assert message.id == "mediasearch.E004"
    assert "not sqlite" in message.msg


def test_check_database__old_postgresql(monkeypatch: pytest.MonkeyPatch, db: None) -> None:
    monkeypatch.setattr(database, "POSTGRESQL", 990_000)
    assert ids(database.check_database(None, ["default"])) == ["mediasearch.E004"]


def test_check_database__old_pgvector(monkeypatch: pytest.MonkeyPatch, db: None) -> None:
    monkeypatch.setattr(database, "PGVECTOR", (99, 0))
    (message,) = database.check_database(None, ["default"])
    assert message.id == "mediasearch.E005"
    assert "ALTER EXTENSION vector UPDATE" in str(message.hint)


def test_check_database__extension_absent_and_not_allowed(db: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute("CREATE ROLE humble; GRANT ALL ON SCHEMA public TO humble")
        cursor.execute("DROP EXTENSION vector CASCADE")
        cursor.execute("SET LOCAL ROLE humble")
        (message,) = database.check_database(None, ["default"])
        cursor.execute("RESET ROLE")
    assert message.id == "mediasearch.E005"
    assert "may not create it" in message.msg
    assert "CREATE EXTENSION vector" in str(message.hint)


def test_check_database__extension_absent_but_allowed(db: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute("DROP EXTENSION vector CASCADE")
    assert database.check_database(None, ["default"]) == []


def test_check_database__unreachable(monkeypatch: pytest.MonkeyPatch, db: None) -> None:
    from django.db.utils import OperationalError

    def refuse() -> None:
        raise OperationalError("connection refused\nIs the server running?")

    with monkeypatch.context() as patch:
        patch.setattr(connection, "cursor", refuse)
        (message,) = database.check_database(None, ["default"])
    assert message.id == "mediasearch.E007"
    assert "connection refused" in message.msg
    assert "DATABASES" in str(message.hint)


def test_check_generation__other_encoder_than_the_active(active_generation: Generation, settings: Any) -> None:
    assert database.check_generation(None, ["default"]) == []
    settings.MEDIASEARCH = settings.MEDIASEARCH | {
        "ENCODER": {"BACKEND": "mediasearch.features.fake.FakeEncoder", "OPTIONS": {"dimensions": 24}}
    }
    (message,) = database.check_generation(None, ["default"])
    assert message.id == "mediasearch.W005"
    assert "mediasearch_reindex" in str(message.hint)


@pytest.mark.parametrize("check", [database.check_generation, database.check_indexes])
def test_check__before_the_tables_are_those_of_this_version(check: Any, active_generation: Generation) -> None:
    """`migrate` checks before it makes the columns that it is run for."""
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE mediasearch_generation DROP COLUMN retired_at")
    assert check(None, ["default"]) == []


@pytest.mark.django_db(transaction=True)
def test_check_indexes__missing_and_left_over(active_generation: Generation) -> None:
    (image, caption) = database.check_indexes(None, ["default"])
    assert (image.id, caption.id) == ("mediasearch.W009", "mediasearch.W009")
    assert "is missing" in image.msg
    assert "mediasearch_indexes --repair" in str(image.hint)
    generations.build_indexes(active_generation)
    assert database.check_indexes(None, ["default"]) == []
    generations.drop_indexes(active_generation)
    assert database.check_indexes(None, []) == []


def test_check_celery__no_result_backend(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    remote = {"QUERY_ENCODER": {"BACKEND": "mediasearch.features.remote.Remote"}}
    settings.MEDIASEARCH = settings.MEDIASEARCH | remote
    monkeypatch.setitem(checks.current_app.conf, "result_backend", "redis://")
    assert found() == []
    monkeypatch.setitem(checks.current_app.conf, "result_backend", None)
    (message,) = found()
    assert message.id == "mediasearch.W006"
    assert "CELERY_RESULT_BACKEND" in str(message.hint)


def test_check_broker__reached() -> None:
    assert checks.check_broker(None) == []


def test_check_broker__down(monkeypatch: pytest.MonkeyPatch) -> None:
    from celery import Celery

    monkeypatch.setattr(checks, "current_app", Celery(broker="redis://127.0.0.1:1/0", set_as_current=False))
    (message,) = checks.check_broker(None)
    assert message.id == "mediasearch.W007"
    assert "CELERY_BROKER_URL" in str(message.hint)


@pytest.fixture
def demo_model(settings: Any, tmp_path: Path) -> None:
    (tmp_path / "open_clip_config.json").write_text("{}")
    (tmp_path / "mediasearch.json").write_text(json.dumps({"languages": ["en"], "notice": "For trying out."}))
    encoder = {"BACKEND": "mediasearch.features.openclip.OpenClip", "OPTIONS": {"model": f"local-dir:{tmp_path}"}}
    settings.MEDIASEARCH = settings.MEDIASEARCH | {"ENCODER": encoder}


@pytest.mark.usefixtures("demo_model")
@pytest.mark.parametrize(("debug", "expected"), [(False, ["mediasearch.W004"]), (True, [])])
def test_check_settings__the_demo_model_is_for_trying_out(settings: Any, debug: bool, expected: list[str]) -> None:
    settings.DEBUG = debug
    assert ids(found()) == expected


@pytest.mark.parametrize("options", [{"model": "local-dir:/nowhere"}, {"model": "ViT-B-32"}])
def test_check_settings__weights_missing(settings: Any, options: dict[str, str]) -> None:
    encoder = {"BACKEND": "mediasearch.features.openclip.OpenClip", "OPTIONS": options}
    settings.MEDIASEARCH = settings.MEDIASEARCH | {"ENCODER": encoder}
    (message,) = found()
    assert message.id == "mediasearch.E006"
    assert "MEDIASEARCH" in str(message.hint)


@pytest.mark.parametrize(
    ("cache", "said"), [("alone", ["mediasearch.W008"]), ("none", ["mediasearch.W008"]), ("shared", [])]
)
def test_check_cache__of_one_process_alone(settings: Any, cache: str, said: list[str]) -> None:
    settings.CACHES = settings.CACHES | {
        "alone": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
        "none": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"},
        "shared": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": "redis://localhost"},
    }
    settings.MEDIASEARCH = settings.MEDIASEARCH | {"CACHE": cache}
    assert ids(checks.check_cache(None)) == said
    remote = {"BACKEND": "mediasearch.features.remote.Remote", "OPTIONS": {"pictures": False}}
    settings.MEDIASEARCH = settings.MEDIASEARCH | {"QUERY_ENCODER": remote}
    assert checks.check_cache(None) == []


@pytest.mark.parametrize(
    ("place", "memory", "policy", "said"),
    [
        ("/1", 0, "noeviction", ""),
        ("/0", 0, "noeviction", "one database of one server"),
        ("", 0, "noeviction", "one database of one server"),
        ("/1", 50_000_000, "noeviction", "share a server with a maxmemory and the policy noeviction"),
        ("/1", 50_000_000, "allkeys-lru", "share a server with a maxmemory and the policy allkeys-lru"),
        ("apart", 0, "noeviction", ""),
        ("apart", 50_000_000, "noeviction", "stores nothing any more when it is full"),
        ("apart", 50_000_000, "allkeys-lru", ""),
        ("away", 0, "noeviction", ""),
    ],
)
def test_check_cache_server(settings: Any, tmp_path: Path, place: str, memory: int, policy: str, said: str) -> None:
    server = start_valkey(tmp_path / "valkey")
    try:
        broker = os.environ["REDIS_URL"]
        addresses = {"apart": server.url, "away": "redis://127.0.0.1:1/0"}
        location = addresses.get(place, broker.removesuffix("/0") + place)
        bounded = redis.Redis.from_url(location if place == "apart" else broker)
        settings.CACHES = settings.CACHES | {
            "shared": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": location}
        }
        settings.MEDIASEARCH = settings.MEDIASEARCH | {"CACHE": "shared"}
        bounded.config_set("maxmemory", memory)
        bounded.config_set("maxmemory-policy", policy)
        messages = caching.check_cache_server(None)
        assert ids(messages) == ["mediasearch.W015"] * bool(said)
        assert all(said in message.msg and "allkeys-lru" in str(message.hint) for message in messages)
    finally:
        bounded.config_set("maxmemory", 0)
        bounded.config_set("maxmemory-policy", "noeviction")
        server.stop()


def test_check_cache_server__other_caches_and_other_brokers(settings: Any) -> None:
    assert caching.check_cache_server(None) == []
    settings.MEDIASEARCH = settings.MEDIASEARCH | {"CACHE": "absent"}
    assert caching.check_cache_server(None) == []


def test_check_settings__a_cache_that_is_not_there(settings: Any) -> None:
    settings.MEDIASEARCH = settings.MEDIASEARCH | {"CACHE": "absent"}
    (message,) = found()
    assert (message.id, 'CACHES has no "absent"' in message.msg) == ("mediasearch.E001", True)
    assert checks.check_cache(None) == []


def test_check_addresses__without_the_extra(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.MEDIASEARCH = settings.MEDIASEARCH | {"FETCH_ADDRESSES": True}
    assert found() == []
    monkeypatch.setitem(sys.modules, "httpcore2", None)
    (message,) = found()
    assert message.id == "mediasearch.W011"
    assert 'pip install "mediasearch[addresses]"' in str(message.hint)
    settings.MEDIASEARCH = settings.MEDIASEARCH | {"FETCH_ADDRESSES": False}
    assert found() == []


LOCAL, PRIVATE = "django.core.files.storage.FileSystemStorage", "mediasearch.storages.PrivateStorage"


@pytest.mark.parametrize(
    ("media_url", "backend", "options", "said"),
    [
        ("", LOCAL, {}, []),  # Where Django's own MEDIA_URL is not set, nothing is served.
        ("/media/", LOCAL, {}, ["mediasearch.W014"]),
        ("", LOCAL, {"base_url": "https://media.example.org/"}, ["mediasearch.W014"]),
        ("/media/", PRIVATE, {}, []),
        ("/media/", "tests.test_checks.Bucket", {}, []),
    ],
)
def test_check_storage__of_this_machine(
    settings: Any, media_url: str, backend: str, options: dict[str, Any], said: list[str]
) -> None:
    settings.MEDIA_URL = media_url
    settings.STORAGES = settings.STORAGES | {"one": {"BACKEND": backend, "OPTIONS": options}}
    settings.MEDIASEARCH = settings.MEDIASEARCH | {"STORAGE": "one"}
    messages = found()
    assert ids(messages) == said
    assert all("thumbnail" in message.msg and "PrivateStorage" in str(message.hint) for message in messages)


class Bucket(InMemoryStorage):
    """Stands for a storage elsewhere: `query` is the signature of its addresses."""

    def __init__(self, query: str = "", error: Exception | None = None) -> None:
        super().__init__()
        self.query, self.error = query, error

    def url(self, name: str | None) -> str:
        if self.error:
            raise self.error
        return f"https://bucket.example.org/{name}{self.query}"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, ["mediasearch.W014"]),
        ({"query": "?X-Amz-Signature=abc&X-Amz-Expires=3600"}, []),
        ({"error": ConnectionError("no route")}, []),
    ],
)
def test_check_storage__elsewhere(settings: Any, options: dict[str, Any], said: list[str]) -> None:
    settings.MEDIA_URL = "/media/"
    settings.STORAGES = settings.STORAGES | {"one": {"BACKEND": "tests.test_checks.Bucket", "OPTIONS": options}}
    settings.MEDIASEARCH = settings.MEDIASEARCH | {"STORAGE": "one"}
    assert ids(storage.check_remote_storage(None)) == said
    assert ids(storage.check_local_storage(None)) == []


@pytest.mark.parametrize(
    ("broker", "options", "hint"),
    [
        ("redis://", {"worker_prefetch_multiplier": 0, "worker_disable_prefetch": True}, ""),
        ("redis://", {"worker_prefetch_multiplier": 0}, "Set CELERY_WORKER_DISABLE_PREFETCH = True;"),
        ("redis://", {}, "CELERY_WORKER_PREFETCH_MULTIPLIER = 0 and CELERY_WORKER_DISABLE_PREFETCH = True;"),
        ("memory://", {}, "Set CELERY_WORKER_PREFETCH_MULTIPLIER = 1;"),
        ("memory://", {"worker_prefetch_multiplier": 1}, ""),
        ("redis://", {"task_always_eager": True}, ""),
    ],
)
def test_check_prefetch(broker: str, options: dict[str, Any], hint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from celery import Celery

    app = Celery(broker=broker, set_as_current=False)
    app.conf.update(options)
    monkeypatch.setattr(checks, "current_app", app)
    messages = checks.check_prefetch(None)
    assert ids(messages) == (["mediasearch.W012"] if hint else [])
    assert all(hint in str(message.hint) for message in messages)


def test_check_prefetch__not_where_workers_do_without_celery(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from celery import Celery

    monkeypatch.setattr(checks, "current_app", Celery(broker="redis://", set_as_current=False))
    settings.MEDIASEARCH = settings.MEDIASEARCH | {"DOORBELL": "postgresql"}
    assert checks.check_prefetch(None) == []


def test_check_prefetch__the_demo_site_is_set_up_as_documented() -> None:
    assert checks.check_prefetch(None) == []


def manage(url: str, data: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a management command on a database of its own."""
    command = [sys.executable, "manage.py", *arguments]
    env = environment(data, DATABASE_URL=url)
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture
def out_of_sight(db: None) -> Iterator[tuple[str, psycopg.Connection]]:
    """A database with pgvector in a schema of its own: its address for a humble role, and a superuser's session."""
    name = "mediasearch_schema"
    with new_database(name, owner=name) as url, psycopg.connect(address(name), autocommit=True) as superuser:
        superuser.execute('CREATE SCHEMA "Extra"; CREATE EXTENSION vector SCHEMA "Extra"')
        yield url, superuser


def test_check_database__pgvector_outside_the_search_path(
    out_of_sight: tuple[str, psycopg.Connection], tmp_path: Path
) -> None:
    url, superuser = out_of_sight
    checked = manage(url, tmp_path, "check", "--database", "default")
    assert "mediasearch.E008" in checked.stderr
    assert "may not use" in checked.stderr
    superuser.execute('GRANT USAGE ON SCHEMA "Extra" TO mediasearch_schema')
    checked, migrated = (
        manage(url, tmp_path, *command) for command in (["check", "--database", "default"], ["migrate"])
    )
    assert (checked.returncode, migrated.returncode) == (1, 1)
    for said in (checked.stderr, migrated.stderr):
        assert "mediasearch.E008" in said
        assert 'in the schema "Extra", which is not on the search_path ("$user", public)' in said
    assert "Applying" not in migrated.stdout
    (statement,) = re.findall(r"Run: (ALTER ROLE .*?;)", checked.stderr)
    (options,) = re.findall(r'"options": "(-c .*)"\.', checked.stderr)
    assert manage(f"{url}&options={quote(options)}", tmp_path, "check", "--database", "default").returncode == 0
    superuser.execute(statement)
    assert manage(url, tmp_path, "check", "--database", "default").returncode == 0


def test_check_database__pgvector_in_another_schema_on_the_search_path(
    out_of_sight: tuple[str, psycopg.Connection], tmp_path: Path
) -> None:
    """All works there: tables, indexes, another model, pruning."""
    url, superuser = out_of_sight
    superuser.execute('GRANT USAGE ON SCHEMA "Extra" TO mediasearch_schema')
    superuser.execute('ALTER ROLE mediasearch_schema SET search_path = public, "Extra"')
    folder = tmp_path / "pictures"
    folder.mkdir()
    for colour in ("red", "blue", "green"):
        (folder / f"{colour}.png").write_bytes(picture(colour))
    found = run(SITE.format(folder=str(folder)), url, tmp_path)
    assert (found["states"], found["jobs"], found["flaws"]) == ([["active", 24]], 0, [])
    assert found["before"][0][0] == found["after"][0][0]
    assert (found["recall"], len(found["after"])) == (1.0, 3)


class Apart:
    """Gives mediasearch a database of its own."""

    label = "mediasearch"

    def db_for_write(self, model: Any, **hints: Any) -> str | None:
        return "media" if model._meta.app_label == self.label else None


class UsersApart(Apart):
    label = "auth"


class Torn:
    """Gives one of mediasearch's models another database than the rest."""

    def db_for_write(self, model: Any, **hints: Any) -> str | None:
        return "queue" if model is Job else None


class Replicated:
    """Has a replica answer what is read."""

    def db_for_read(self, model: Any, **hints: Any) -> str:
        return "replica"

    def db_for_write(self, model: Any, **hints: Any) -> str:
        return "default"


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (Apart, 'Asset to "media"'),
        (UsersApart, 'auth.User to "media"'),
        (Torn, 'writes Job to "queue", and auth.User to "default"'),
        (Replicated, ""),
    ],
)
def test_check_routers(kind: type, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(router, "routers", [kind()])
    messages = routing.check_routers(None)
    assert ids(messages) == (["mediasearch.E009"] if said else [])
    assert all(said in message.msg and "db_for_write" in str(message.hint) for message in messages)


def test_check_routers__stop_each_command_before_it_begins(tmp_path: Path, db: None) -> None:
    with new_database("mediasearch_routed") as url:
        env = environment(tmp_path, DATABASE_URL=url, DJANGO_SETTINGS_MODULE="tests.routed")
        for command in (["migrate"], ["migrate", "--database", "media"], ["runserver", "--noreload", "0"], ["check"]):
            ended = subprocess.run(
                [sys.executable, "manage.py", *command], cwd=ROOT, env=env, capture_output=True, text=True, timeout=60
            )
            assert ended.returncode != 0
            assert "mediasearch.E009" in ended.stderr
            assert "Applying" not in ended.stdout
        with psycopg.connect(url) as session:
            assert session.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone() == (0,)
