"""The demo's processes: their configuration, their supervisor, and what ends those that were left behind."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from configparser import ConfigParser
from pathlib import Path
from typing import Any

import psutil
import pytest

from project import leftovers, supervision
from project.services import start_valkey, valkey
from project.supervision import Program, Supervisor, configuration, site

FOREVER = (sys.executable, "-c", "import time; time.sleep(600)")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "logs").mkdir()
    return tmp_path


@pytest.fixture
def environment(folder: Path) -> Iterator[dict[str, str]]:
    yield {**os.environ, leftovers.MARK: str(folder)}
    leftovers.end(folder, hard=True)


def parsed(folder: Path, programs: list[Program]) -> ConfigParser:
    parser = ConfigParser()
    parser.read_string(configuration(folder, programs))
    return parser


def test_configuration__names_all_programs(folder: Path) -> None:
    parser = parsed(folder, [Program("postgres", FOREVER, supervision.SERVICES), *site(folder)])

    names = ["web", "worker-read", "worker-embed", "worker-query", "beat"]
    assert parser["group:site"]["programs"].split(",") == names
    assert parser["group:services"]["programs"] == "postgres"
    for name in [*names, "postgres"]:
        assert parser[f"program:{name}"]["autorestart"] == "true"
        assert parser[f"program:{name}"]["killasgroup"] == "true"


def test_configuration__site_waits_for_its_services(folder: Path) -> None:
    parser = parsed(folder, [Program("postgres", FOREVER, supervision.SERVICES), *site(folder)])

    assert parser["program:postgres"]["autostart"] == "true"
    assert parser["program:web"]["autostart"] == "false"
    assert parser.getint("group:services", "priority") < parser.getint("group:site", "priority")


def test_configuration__odd_characters(folder: Path) -> None:
    command = ("/a folder/program", "--format", "100%")

    parser = parsed(folder, [Program("odd", command)])

    assert parser["program:odd"]["command"] == "'/a folder/program' --format 100%"


def test_configuration__holds_no_secret(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_KEY", "never-written")

    assert "never-written" not in configuration(folder, site(folder))


def test_workers__one_for_each_queue(folder: Path) -> None:
    queues = [p.command[p.command.index("--queues") + 1] for p in site(folder) if p.name.startswith("worker-")]

    assert sorted(queues) == ["mediasearch.embed", "mediasearch.query", "mediasearch.read"]


def test_workers__serve_the_queues_of_the_prefix(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUEUE_PREFIX", "shop")
    queues = [p.command[p.command.index("--queues") + 1] for p in site(folder) if p.name.startswith("worker-")]

    assert sorted(queues) == ["shop.embed", "shop.query", "shop.read"]


def test_supervisor__starts_restarts_and_stops(folder: Path, environment: dict[str, str]) -> None:
    programs = [Program("first", FOREVER, supervision.SERVICES), Program("second", FOREVER, folder=folder)]
    supervisor = Supervisor(folder, programs, environment)
    supervisor.wait()
    supervisor.start("second")
    running = eventually(lambda: sleepers(folder), 2)

    running[0].kill()

    assert eventually(lambda: [p for p in sleepers(folder) if p not in running], 1)
    supervisor.stop()
    assert leftovers.find(folder) == []


def test_leftovers__of_a_killed_supervisor(folder: Path, environment: dict[str, str]) -> None:
    supervisor = Supervisor(folder, [Program("first", FOREVER, supervision.SERVICES)], environment)
    supervisor.wait()
    eventually(lambda: sleepers(folder), 1)
    for process in leftovers.find(folder):
        if "supervisor.supervisord" in leftovers.command(process):
            process.kill()
    assert eventually(lambda: [True] * (not supervisor.alive()), 1)

    assert leftovers.end(folder) == 1
    assert leftovers.find(folder) == []


def test_leftovers__valkey_without_its_environment(folder: Path) -> None:
    server = start_valkey(folder / "valkey")
    other = start_valkey(folder.with_name("other") / "valkey")
    try:
        assert leftovers.end(folder) == 1
        assert not valkey.ping(server.url)
        assert valkey.ping(other.url)
    finally:
        other.stop()
        server.stop()


def test_leftovers__of_others_stay(folder: Path, environment: dict[str, str]) -> None:
    other = subprocess.Popen(FOREVER, env={**environment, leftovers.MARK: str(folder / "other")})
    try:
        assert leftovers.end(folder) == 0
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def sleepers(folder: Path) -> list[psutil.Process]:
    return [process for process in leftovers.find(folder) if tuple(leftovers.command(process)) == FOREVER]


def eventually(find: Callable[[], list[Any]], number: int) -> list[Any]:
    end = time.monotonic() + 15
    while len(found := find()) < number:
        assert time.monotonic() < end, f"still {len(found)} of {number}"
        time.sleep(0.1)
    return found
