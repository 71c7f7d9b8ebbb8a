"""Indexes that are built for real, broken off for real, and built again."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.db import OperationalError, connection

from mediasearch.exceptions import MediaSearchError
from mediasearch.indexing import construction, generations, indexes, sessions, watching
from mediasearch.indexing.indexes import Index
from mediasearch.indexing.watching import Step
from mediasearch.models import Generation
from tests.live import ROOT, environment, until
from tests.vectors import fill

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _without_indexes(active_generation: Generation, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(watching, "EVERY", 0.02)
    monkeypatch.setattr(construction, "EVERY", 0.02)
    yield
    generations.drop_indexes(active_generation)


@pytest.fixture
def image(active_generation: Generation) -> Index:
    return indexes.wanted(active_generation)[0]


def query(statement: str, *parameters: Any) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return cursor.fetchall() if cursor.description else None


def phase() -> str:
    rows = query("SELECT phase FROM pg_stat_progress_create_index WHERE datname = current_database()")
    return rows[0][0] if rows else ""


def is_well(index: Index) -> bool:
    there = indexes.found()
    leftovers = [one for one in there.values() if one.left_over]
    return there[index.name].valid and not there[index.name].differs_from(index) and not leftovers


@contextmanager
def a_writer() -> Iterator[psycopg.Connection[Any]]:
    """Somebody in a transaction that has written: a build waits for them, as long as it takes."""
    place = connection.get_connection_params()
    names = ("host", "user", "dbname", "port", "password")
    with psycopg.connect(**{name: place[name] for name in names if place.get(name)}) as writer:
        writer.execute("LOCK TABLE mediasearch_embedding IN ROW EXCLUSIVE MODE")
        yield writer


@contextmanager
def a_build(data: Path) -> Iterator[subprocess.Popen[str]]:
    """The command in a process of its own, which waits for a writer."""
    command = [sys.executable, "manage.py", "mediasearch_indexes", "--repair"]
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment(data), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        until(lambda: phase() == "waiting for writers before build", "the build has not begun")
        yield process
    finally:
        process.kill()
        process.communicate()


def test_build__reports_how_far_it_is(active_generation: Generation, image: Index) -> None:
    fill(active_generation, 2_000)
    steps: list[Step] = []
    construction.build(image, steps.append)
    assert is_well(image)
    building = [step for step in steps if step.label == f"Building {image.name}"]
    assert {step.total for step in building} == {2_000}
    assert any(0 < step.done < 2_000 for step in building)


def test_build__one_that_ctrl_c_broke_off(tmp_path: Path, image: Index) -> None:
    with a_writer():
        with a_build(tmp_path) as process:
            process.send_signal(signal.SIGINT)
            assert process.wait(20) != 0
        until(lambda: not phase(), "PostgreSQL goes on")
        assert not indexes.found()[image.name].valid
    construction.build(image)
    assert is_well(image)


def test_build__one_whose_client_was_killed_goes_on(tmp_path: Path, image: Index) -> None:
    with a_writer() as writer:
        with a_build(tmp_path) as process:
            process.kill()
            process.wait()
        assert indexes.found()[image.name].in_progress
        threading.Timer(0.3, writer.rollback).start()
        steps: list[Step] = []
        construction.build(image, steps.append)  # It waits for that one, and finds nothing left to do.
    assert is_well(image)
    assert f"{image.name}, waiting for writers before build" in {step.label for step in steps}


def test_build__one_that_the_server_gave_up(tmp_path: Path, image: Index) -> None:
    with a_writer(), a_build(tmp_path) as process:
        query("SELECT pg_terminate_backend(pid) FROM pg_stat_progress_create_index WHERE datname = current_database()")
        _, said = process.communicate(timeout=20)
        assert process.returncode == 1
        assert "CommandError: The database did not do it" in said
        assert not indexes.found()[image.name].valid
    construction.build(image)
    assert is_well(image)


def test_build__replaces_one_of_another_make_without_a_gap(image: Index) -> None:
    query(image.definition().replace("m = 16", "m = 8"))
    before = query("SELECT %s::regclass::oid", image.name)
    construction.build(image)
    assert is_well(image)
    assert query("SELECT %s::regclass::oid", image.name) != before


def test_rebuild__makes_a_bloated_one_small(active_generation: Generation, image: Index) -> None:
    fill(active_generation, 300)
    construction.build(image)
    query("UPDATE mediasearch_embedding SET image = caption")
    before = indexes.found()[image.name].size
    construction.rebuild(image)
    assert is_well(image)
    assert indexes.found()[image.name].size < 0.6 * before
    query("CREATE INDEX mediasearch_asset_text_ccnew ON mediasearch_asset USING gin (text_vector)")
    construction.rebuild("mediasearch_asset_text")
    assert "mediasearch_asset_text_ccnew" not in indexes.found()


def test_rebuild__broken_off_leaves_the_old_one_in_use(tmp_path: Path, image: Index) -> None:
    construction.build(image)
    with a_writer():
        rebuilding = threading.Thread(target=_failing, args=[image])
        rebuilding.start()
        until(lambda: phase() == "waiting for writers before build", "the rebuild has not begun")
        query("SELECT pg_cancel_backend(pid) FROM pg_stat_progress_create_index WHERE datname = current_database()")
        rebuilding.join(20)
    there = indexes.found()
    assert there[image.name].valid
    assert there[f"{image.name}_ccnew"].left_over
    construction.rebuild(image)
    assert is_well(image)


def _failing(index: Index) -> None:
    try:
        with pytest.raises(OperationalError, match="canceling"):
            construction.rebuild(index)
    finally:
        connection.close()


def test_rebuild__one_that_is_not_there() -> None:
    with pytest.raises(MediaSearchError, match="no index mediasearch_nothing"):
        construction.rebuild("mediasearch_nothing")


@pytest.fixture
def little_memory(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """A server whose own settings are too small for a graph, and which tells more."""
    options = "-c maintenance_work_mem=1MB -c client_min_messages=debug1 -c statement_timeout=1234"
    monkeypatch.setitem(connection.settings_dict["OPTIONS"], "options", options)
    caplog.set_level(logging.INFO, "mediasearch")
    return caplog


def test_memory__is_as_much_as_the_graph_takes(
    active_generation: Generation, image: Index, little_memory: pytest.LogCaptureFixture
) -> None:
    fill(active_generation, 3_000)
    construction.build(image)
    assert "no longer fits" not in little_memory.text
    assert "parallel workers" in little_memory.text
    assert "gets" not in little_memory.text


def test_memory__does_not_lack_a_part_of_a_kilobyte(little_memory: pytest.LogCaptureFixture) -> None:
    with sessions.for_indexes(200 * 1024**2 + 1):
        pass
    assert "gets" not in little_memory.text


def test_memory__is_bounded_and_says_so(
    active_generation: Generation, image: Index, little_memory: pytest.LogCaptureFixture, settings: Any
) -> None:
    settings.MEDIASEARCH = settings.MEDIASEARCH | {"INDEX_MEMORY": 1}
    fill(active_generation, 3_000)
    construction.build(image)
    assert is_well(image)
    assert 'Raise MEDIASEARCH["INDEX_MEMORY"]' in little_memory.text
    assert "no longer fits into maintenance_work_mem" in little_memory.text


def test_memory__without_shared_memory_it_is_done_without_workers(
    image: Index, monkeypatch: pytest.MonkeyPatch, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.MEDIASEARCH = settings.MEDIASEARCH | {"INDEX_MEMORY": 2**40}
    monkeypatch.setattr(Index, "memory", lambda self, rows: 2**40)
    construction.build(image)
    assert is_well(image)
    assert "trying again without parallel workers" in caplog.text


@pytest.mark.parametrize(("workers", "expected"), [(0, "4"), (3, "3")])
def test_settings__only_in_a_connection_of_its_own(
    little_memory: pytest.LogCaptureFixture, settings: Any, workers: int, expected: str
) -> None:
    settings.MEDIASEARCH = settings.MEDIASEARCH | ({"INDEX_WORKERS": workers} if workers else {})
    names = ("maintenance_work_mem", "max_parallel_maintenance_workers", "statement_timeout")
    sql = f"SELECT {', '.join(f'current_setting({name!r})' for name in names)}"
    connection.close()
    before = query(sql)
    assert before == [("1MB", "2", "1234ms")]
    with sessions.for_indexes(500 * 1024**2) as cursor:
        cursor.execute(sql)
        assert cursor.fetchall() == [("500MB", expected, "0")]
    assert query(sql) == before
    connection.close()
