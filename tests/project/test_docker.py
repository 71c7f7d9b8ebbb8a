"""The compose file and the Dockerfile hold together: there is no Docker engine here, so their parts are checked."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tomllib
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from celery.bin.celery import celery as celery_command

from mediasearch.indexing import doorbell
from project import web

ROOT = Path(__file__).resolve().parent.parent.parent
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DOCKERFILE = (ROOT / "docker" / "Dockerfile").read_text().replace("\\\n", " ")
OURS = [name for name in SERVICES if name not in ("postgres", "valkey", "cache")]


def instructions(word: str) -> list[str]:
    return [line.partition(" ")[2].strip() for line in DOCKERFILE.splitlines() if line.startswith(f"{word} ")]


def celery_options(name: str) -> Any:
    """Have Celery itself read the command line of a service."""
    command = SERVICES[name]["command"]
    assert command[:3] == ["celery", "--app", "project"]
    subcommand = celery_command.commands[command[3]]
    words = [re.sub(r"\$\{\w+:-(.*?)\}", r"\1", word) for word in command[4:]]  # As with an environment that is empty.
    return subcommand.make_context(command[3], words, resilient_parsing=True).params


def test_services__all_there() -> None:
    assert set(SERVICES) == {
        *("postgres", "valkey", "cache", "migrate", "web", "worker-embed", "worker-read", "worker-query", "beat")
    }
    assert SERVICES["postgres"]["image"] == "pgvector/pgvector:pg17"
    assert SERVICES["valkey"]["image"] == SERVICES["cache"]["image"] == "valkey/valkey:8-alpine"


def test_cache__is_bounded_and_apart_from_the_broker() -> None:
    command = SERVICES["cache"]["command"]
    assert dict(pairwise(command))["--maxmemory"] == "64mb"
    assert dict(pairwise(command))["--maxmemory-policy"] == "allkeys-lru"
    environment = SERVICES["web"]["environment"]
    assert environment["CACHE_URL"].partition("//")[2].partition(":")[0] == "cache"
    assert environment["REDIS_URL"].partition("//")[2].partition(":")[0] == "valkey"


@pytest.mark.parametrize("name", [name for name in SERVICES if name != "migrate"])
def test_services__stay_up_and_tell_their_health(name: str) -> None:
    assert SERVICES[name]["restart"] == "unless-stopped"
    assert SERVICES[name]["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL")


def test_depends_on__conditions() -> None:
    assert SERVICES["migrate"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    assert SERVICES["migrate"]["restart"] == "no"
    for name in set(OURS) - {"migrate"}:
        assert SERVICES[name]["depends_on"] == {
            "migrate": {"condition": "service_completed_successfully"},
            "valkey": {"condition": "service_healthy"},
            "cache": {"condition": "service_healthy"},
        }


def test_depends_on__what_is_waited_for_as_healthy_has_a_check() -> None:
    for service in SERVICES.values():
        for needed, how in service.get("depends_on", {}).items():
            assert needed in SERVICES
            assert how["condition"] != "service_healthy" or "healthcheck" in SERVICES[needed]


@pytest.mark.parametrize("name", ["worker-embed", "worker-read", "worker-query"])
def test_workers__celery_accepts_their_options(name: str) -> None:
    options = celery_options(name)

    assert options["queues"] == [f"mediasearch.{name.partition('-')[2]}"]
    assert options["concurrency"] == 1
    # The health check asks for a worker by this name; `%h` is the host's, which is a container's HOSTNAME.
    assert options["hostname"].partition("@")[0] == "worker"
    assert "worker@$$HOSTNAME" in SERVICES[name]["healthcheck"]["test"][1]


def test_workers__serve_every_queue() -> None:
    served = {queue for name in OURS if name.startswith("worker-") for queue in celery_options(name)["queues"]}

    assert served == {*doorbell.every_queue()}


def test_beat__celery_accepts_its_options() -> None:
    assert celery_options("beat")["schedule"] == "/tmp/beat-schedule"


def test_worker_image__default_command_serves_every_queue() -> None:
    command = yaml.safe_load(next(line for line in instructions("CMD") if '"worker"' in line))

    assert set(command[command.index("--queues") + 1].split(",")) == {*doorbell.every_queue()}


def test_web__same_command_in_both_files() -> None:
    command = SERVICES["web"]["command"]

    assert command == ["gunicorn", "--config", "python:project.web", "project.wsgi"]
    assert command in [yaml.safe_load(line) for line in instructions("CMD")]
    assert re.search(r"\bBIND=0\.0\.0\.0:8000\b", DOCKERFILE)
    assert web.bind.partition(":")[0] == "127.0.0.1" or "BIND" in os.environ


def test_environment__every_variable_is_read() -> None:
    read = "".join((ROOT / "project" / name).read_text() for name in ("settings.py", "web.py"))

    for name in OURS:
        for variable in SERVICES[name]["environment"]:
            assert f'"{variable}"' in read, f"{name} sets {variable}, which nothing reads."


@pytest.mark.parametrize("variable", ["SECRET_KEY", "POSTGRES_PASSWORD"])
def test_environment__secrets_come_from_outside(variable: str) -> None:
    text = (ROOT / "docker" / "compose.yaml").read_text()

    assert re.findall(rf"\${{{variable}(:\?|:-|}})", text)
    assert set(re.findall(rf"\${{{variable}(..)", text)) == {":?"}
    assert variable not in DOCKERFILE


def test_volumes__declared_and_used() -> None:
    mounted = {volume.partition(":")[0] for service in SERVICES.values() for volume in service.get("volumes", [])}

    assert mounted == set(COMPOSE["volumes"])


def test_targets__exist() -> None:
    stages = {line.split()[-1] for line in instructions("FROM")}

    assert {SERVICES[name]["build"]["target"] for name in OURS} == {"web", "worker"} <= stages


def test_images__run_as_an_ordinary_user_and_carry_no_build() -> None:
    final = re.split(r"^FROM ", DOCKERFILE, flags=re.MULTILINE)[-2:]

    for stage in final:
        assert stage.rstrip().rsplit("USER ", 1)[1].split()[0] == "site"
        assert "pip install" not in stage
        assert "COPY --from=build-" in stage


def test_pip_install__extras_exist() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    installs = re.findall(r"pip install (.*)", DOCKERFILE)

    extras = {extra for line in installs for found in re.findall(r'"\.\[(.*?)\]"', line) for extra in found.split(",")}

    assert extras <= set(project["optional-dependencies"])
    assert "worker" in extras


def test_copy__sources_exist() -> None:
    for line in instructions("COPY"):
        if not line.startswith("--from"):
            for source in line.split()[:-1]:
                assert (ROOT / source).exists(), f"The Dockerfile copies {source}, which is not there."


def test_apt_get__languages_of_tesseract() -> None:
    installed = " ".join(line for line in instructions("RUN") if "apt-get install" in line)

    assert {"tesseract-ocr", "tesseract-ocr-eng", "tesseract-ocr-chi-sim"} <= set(installed.split())
    assert "rm -rf /var/lib/apt/lists" in installed


def test_run__shell_accepts_it() -> None:
    for line in instructions("RUN"):
        subprocess.run(["sh", "-n", "-c", line], check=True)


def test_compose__docker_accepts_it() -> None:
    if not _has_compose():
        pytest.skip("docker compose is not installed")
    environment = {**os.environ, "SECRET_KEY": "x", "POSTGRES_PASSWORD": "x"}
    command = ["docker", "compose", "--file", "docker/compose.yaml", "config", "--quiet"]
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)

    assert (ended.returncode, ended.stderr) == (0, "")


def _has_compose() -> bool:
    return (
        bool(shutil.which("docker"))
        and not subprocess.run(["docker", "compose", "version"], capture_output=True).returncode
    )


def test_gunicorn__knows_the_settings() -> None:
    from gunicorn.config import Config

    names = [name for name in vars(web) if not name.startswith("_") and name not in ("annotations", "os")]

    assert set(names) <= set(Config().settings)
    assert all(isinstance(value, int) for value in (web.workers, web.threads))


def test_healthchecks__commands_exist() -> None:
    for first, second in pairwise(SERVICES["web"]["healthcheck"]["test"][1:]):
        assert first in ("python", "-c")
        if first == "-c":
            compile(second, "healthcheck", "exec")
