"""The embedded PostgreSQL and Valkey: started, found again, stopped, and short sentences where they can't be."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import redis

from project.addresses import database
from project.services import Running, ServiceError, postgres, sockets, start_postgres, start_valkey
from project.services.process import Service

ROOT = Path(__file__).resolve().parent.parent.parent
DEEP = "/".join(["a folder with a rather long name, and spaces"] * 3)


def connect(url: str) -> psycopg.Connection:
    settings = database(url)
    return psycopg.connect(host=settings["HOST"], dbname=settings["NAME"], user=settings["USER"])


@pytest.fixture(scope="module", autouse=True)
def _temporary_folder() -> Iterator[None]:
    """Have the short folders made where they can be removed."""
    with tempfile.TemporaryDirectory(prefix="ms-") as folder, pytest.MonkeyPatch.context() as patch:
        Path(folder).chmod(0o711)
        patch.setattr(tempfile, "tempdir", folder)
        yield


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A server in a folder whose path no socket could have."""
    folder = tmp_path_factory.mktemp("postgres") / DEEP / "data"
    return folder, start_postgres(folder)


def test_postgres__has_pgvector(server: tuple[Path, str]) -> None:
    with connect(server[1]) as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
        assert connection.execute("SELECT '[1,2]'::vector").fetchone() == ("[1,2]",)


def test_postgres__running_already(server: tuple[Path, str]) -> None:
    folder, url = server
    before = postgres.postmaster(folder)

    assert start_postgres(folder) == url
    assert postgres.postmaster(folder) == before


def test_postgres__listens_on_a_private_socket_only(server: tuple[Path, str]) -> None:
    settings = database(server[1])
    assert Path(settings["HOST"]).stat().st_mode & 0o077 == 0
    with connect(server[1]) as connection:
        assert connection.execute("SHOW listen_addresses").fetchone() == ("",)


def test_postgres__ends_with_its_process(tmp_path: Path) -> None:
    folder = tmp_path / "postgres"
    script = f"""
        from pathlib import Path
        from project.services import start_postgres
        start_postgres(Path({str(folder)!r}))
    """
    subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], cwd=ROOT, check=True, stdin=subprocess.DEVNULL, timeout=60
    )

    assert (folder / "PG_VERSION").exists()
    assert postgres.running(folder) is None


def test_postgres__data_of_another_version(tmp_path: Path) -> None:
    (tmp_path / "PG_VERSION").write_text("9\n")

    with pytest.raises(ServiceError, match="was made by PostgreSQL 9"):
        start_postgres(tmp_path)


def test_postgres__stale_pid_file(tmp_path: Path) -> None:
    (tmp_path / "postmaster.pid").write_text(f"1\n{tmp_path}\n0\n5432\n{tmp_path}\n\n\nready\n")

    assert postgres.running(tmp_path) is None


def test_valkey__answers_with_its_password_only(tmp_path: Path) -> None:
    server = start_valkey(tmp_path / "valkey")
    try:
        with redis.Redis.from_url(server.url) as client:
            assert client.ping()
        stranger = redis.Redis.from_url(f"redis://{server.url.partition('@')[2]}")
        with stranger, pytest.raises(redis.AuthenticationError):
            stranger.ping()
    finally:
        server.stop()
    with redis.Redis.from_url(server.url) as client, pytest.raises(redis.ConnectionError):
        client.ping()


def test_valkey__durable(tmp_path: Path) -> None:
    for expected in (None, b"here"):
        server = start_valkey(tmp_path / "valkey", durable=True)
        try:
            with redis.Redis.from_url(server.url) as client:
                assert client.get("kept") == expected
                client.set("kept", "here")
        finally:
            server.stop()


def test_running__ends_at_once(tmp_path: Path) -> None:
    server = Running(Service("The server", (sys.executable, "-c", ""), tmp_path, "none://"), tmp_path / "log")

    with pytest.raises(ServiceError, match=r"The server ended at once; .*log says why."):
        server.wait(lambda url: False)


def test_sockets__short_path(tmp_path: Path) -> None:
    assert sockets.folder_for(Path("/tmp")) == Path("/tmp").resolve()


def test_sockets__long_path_keeps_its_folder(tmp_path: Path) -> None:
    long = tmp_path / DEEP
    long.mkdir(parents=True)

    short = sockets.folder_for(long)

    assert len(str(short)) < 60
    assert sockets.folder_for(long) == short


def test_sockets__folder_was_swept_away(tmp_path: Path) -> None:
    long = tmp_path / DEEP
    long.mkdir(parents=True)
    sockets.folder_for(long).rmdir()

    assert sockets.folder_for(long).is_dir()
