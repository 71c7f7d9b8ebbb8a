from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mediasearch.indexing import owners

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Have a machine with no other process on it."""
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(owners, "_current", None)
    yield tmp_path
    die()


def die() -> None:
    """Have the kernel see this process end."""
    if owners._current is not None and owners._current.file is not None:
        os.close(owners._current.file)
    owners._current = None


def seen() -> list[tuple[uuid.UUID, uuid.UUID, frozenset[uuid.UUID]]]:
    with owners.ended() as found:
        return [(one.first, one.last, one.computed) for one in found]


def test_token__bears_its_owners_name(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = owners.token(), owners.token()
    assert first != second
    assert first.bytes[:8] == second.bytes[:8]
    parent = os.getpid()
    monkeypatch.setattr(os, "getpid", lambda: parent + 1)  # As after a fork.
    assert owners.token().bytes[:8] != first.bytes[:8]


def test_ended__nobody_while_all_live() -> None:
    owners.token()
    assert seen() == []


def test_ended__the_dead_are_found_and_forgotten() -> None:
    token = owners.token()
    die()
    ((first, last, computed),) = seen()
    assert first < token < last
    assert computed == frozenset()
    assert seen() == []


def test_ended__with_what_was_in_the_model() -> None:
    token = owners.token()
    with owners.computing(token):
        (file,) = owners._folder().iterdir()
        assert file.read_bytes() == token.bytes
        file.with_name("ab" * 8).write_bytes(token.bytes)  # One that nobody has locked.
        assert [computed for _, _, computed in seen()] == [{token}]
    assert file.read_bytes() == b""


def copied() -> None:
    """Leave what this process's file says in one that nobody has locked."""
    (file,) = owners._folder().iterdir()
    file.with_name("ab" * 8).write_bytes(file.read_bytes())


def test_ended__with_what_each_thread_had_in_a_model() -> None:
    first, second = owners.token(), owners.token()
    with owners.computing(first), owners.computing(second):
        copied()
        assert [computed for _, _, computed in seen()] == [{first, second}]


def test_ended__a_thread_that_is_through_takes_nothing_of_the_others_along() -> None:
    first, second = owners.token(), owners.token()
    with owners.computing(first):
        with owners.computing(second):
            pass
        copied()
        assert [computed for _, _, computed in seen()] == [{first}]


def test_token__of_all_threads_bears_one_name() -> None:
    at_once = threading.Barrier(8)

    def token(_: int) -> uuid.UUID:
        at_once.wait()
        return owners.token()

    with ThreadPoolExecutor(8) as threads:
        assert len({token.bytes[:8] for token in threads.map(token, range(8))}) == 1


def test_ended__whoever_is_taken_off_the_list_is_asked_about_again() -> None:
    owners.token()
    die()
    with owners.ended() as found:
        found.clear()
    assert len(seen()) == 1


def test_ended__not_forgotten_where_something_goes_wrong() -> None:
    owners.token()
    die()
    with pytest.raises(ValueError, match="No"), owners.ended():
        raise ValueError("No")
    assert len(seen()) == 1


def test_ended__of_a_process_that_was_killed(tmp_path: Path) -> None:
    program = (
        "import os, signal, tempfile; tempfile.tempdir = os.environ['PLACE']\n"
        "import django; django.setup()\n"
        "from mediasearch.indexing import owners\n"
        "token = owners.token(); print(token, flush=True)\n"
        "with owners.computing(token): os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    place = {"PLACE": str(tmp_path), "DJANGO_SETTINGS_MODULE": "tests.settings"}
    told = subprocess.run([sys.executable, "-c", program], env=os.environ | place, capture_output=True, text=True)
    folder = next(tmp_path.glob("mediasearch-*"))
    token = uuid.UUID(told.stdout.strip())
    assert [path.name for path in folder.iterdir()] == [token.bytes[:8].hex()]
    assert (folder / token.bytes[:8].hex()).read_bytes() == token.bytes


def test_owner__does_without_a_file_where_somebody_else_has_put_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    owners._folder().symlink_to(tmp_path)
    with owners.computing(owners.token()):
        assert seen() == []
    assert "only by its leases" in caplog.text
