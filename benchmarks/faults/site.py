"""A site whose parts may be killed: PostgreSQL, Valkey, web and workers of its own, under a real supervisord."""

from __future__ import annotations

import json
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import psutil

from benchmarks.faults import disks
from project import leftovers
from project.services import postgres, valkey
from project.services.process import until as answered
from project.services.valkey import free_port
from project.supervision import Program, Supervisor, service, site

ROOT = Path(__file__).resolve().parent.parent.parent
_TEMPLATE = ROOT / ".bench" / "faults-postgres"
_LONGEST_AWAY = 300.0
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Site:
    """What runs, and where."""

    folder: Path
    supervisor: Supervisor
    port: int
    """Of the web server, where `web` is among the programs."""

    def start(self, *names: str) -> None:
        """Start programs: `web`, `worker-read`, `worker-embed`, `worker-query`, `beat`, `worker` (without Celery)."""
        self.supervisor.start(*names)

    def processes(self, name: str) -> list[psutil.Process]:
        """Return a program's main process and all that it started, the main one first; none where it does not run."""
        pid = self.supervisor.pid(name)
        if not pid:
            return []
        with suppress(psutil.NoSuchProcess):
            main = psutil.Process(pid)
            return [main, *main.children(recursive=True)]
        return []

    def kill(self, name: str) -> bool:
        """`kill -9` a program with all its processes; return whether it ran. The supervisor starts it again."""
        processes = self.processes(name)
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGKILL)
        return bool(processes)

    def log(self, name: str) -> str:
        return (self.folder / "logs" / f"{name}.log").read_text(errors="replace")

    def doorbells(self) -> int:
        """How many doorbells were rung, by whichever process."""
        path = Path(os.environ["FAULTS_DOORBELLS"])
        return path.stat().st_size if path.exists() else 0


@contextmanager
def running(
    *names: str,
    settings: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
    more: Iterable[Program] = (),
    small: Mapping[str, float] | None = None,
    prefixes: Mapping[str, Sequence[str]] | None = None,
) -> Iterator[Site]:
    """Start PostgreSQL, Valkey without persistence and the named programs, with Django loaded in this process.

    `settings` are keys of MEDIASEARCH, `environment` goes to all processes, `more` are programs that may be named as
    the site's own, `small` are folders below the site's that are to be file systems of their own, with their megabytes,
    and `prefixes` go before the command lines of the programs that they are for. May be entered once in a process.
    Raises disks.NoMount.
    """
    folder = Path(tempfile.mkdtemp(prefix="mediasearch-faults-"))
    (folder / "logs").mkdir()
    (folder / "tmp").mkdir()
    folder.chmod(0o711)
    with ExitStack() as ending:
        if not os.environ.get("FAULTS_KEEP"):
            ending.callback(shutil.rmtree, folder, ignore_errors=True)
        for name, megabytes in (small or {}).items():
            ending.enter_context(disks.mounted(folder / name, megabytes))
        database = postgres.prepare(_copied(folder / "postgres"))
        broker = valkey.prepare(folder / "valkey", durable=False)
        port = free_port()
        os.environ |= {
            "DJANGO_SETTINGS_MODULE": "benchmarks.faults.settings",
            "MEDIASEARCH_DATA": str(folder),
            "DATABASE_URL": database.url,
            "REDIS_URL": broker.url,
            "BIND": f"127.0.0.1:{port}",
            "FAULTS_MEDIASEARCH": json.dumps(dict(settings or {})),
            "FAULTS_DOORBELLS": str(folder / "doorbells"),
            "PYTHONUNBUFFERED": "1",
            "TMPDIR": str(folder / "tmp"),
            **(environment or {}),
        }
        programs = [service("postgres", database), service("valkey", broker), *site(folder), _without_celery(), *more]
        prefixes = prefixes or {}
        programs = [replace(one, command=(*prefixes.get(one.name, ()), *one.command)) for one in programs]
        supervisor = Supervisor(folder, programs, os.environ | {leftovers.MARK: str(folder)})
        ending.callback(leftovers.end, folder, hard=True)
        ending.callback(supervisor.stop)
        supervisor.wait()
        answered(lambda: postgres.create_database(database.url), "PostgreSQL", folder / "logs" / "postgres.log")
        answered(lambda: valkey.ping(broker.url), "Valkey", folder / "logs" / "valkey.log")
        _load_django()
        here = Site(folder, supervisor, port)
        here.start(*names)
        yield here


def _copied(folder: Path) -> Path:
    """Return a new data folder, copied from one that is made once: initdb takes seconds."""
    if not (_TEMPLATE / "PG_VERSION").exists():
        _TEMPLATE.parent.mkdir(exist_ok=True)
        postgres.prepare(_TEMPLATE)
    shutil.copytree(_TEMPLATE, folder, copy_function=shutil.copy2, dirs_exist_ok=True)
    if os.geteuid() == 0:
        for path in [folder, *folder.rglob("*")]:
            shutil.chown(path, postgres.ACCOUNT)
    return folder


def _without_celery() -> Program:
    import sys

    return Program("worker", (sys.executable, str(ROOT / "manage.py"), "mediasearch_worker"))


def _load_django() -> None:
    import django

    django.setup()
    from django.core.management import call_command

    from benchmarks.faults.counting import effects

    call_command("migrate", verbosity=0, skip_checks=True)
    effects.install()


def patiently(task: Callable[[], T], seconds: float = _LONGEST_AWAY) -> T:
    """Return what a task returns; a database that is away is waited for, so long and no longer."""
    from django.db import InterfaceError, OperationalError, connections

    end = time.monotonic() + seconds
    while True:
        try:
            return task()
        except (OperationalError, InterfaceError):
            connections.close_all()
            if time.monotonic() > end:
                raise
            time.sleep(0.2)


def until(condition: Callable[[], object], seconds: float, every: float = 0.1) -> float | None:
    """Wait until something holds; return after how many seconds it did, None where it did not in time."""
    started = time.monotonic()
    while not patiently(condition):
        if time.monotonic() - started > seconds:
            return None
        time.sleep(every)
    return time.monotonic() - started


def await_model(seconds: float = 60.0) -> None:
    """Wait until a worker has loaded the model and made the first generation. Raises TimeoutError."""
    from mediasearch.models import Generation

    if until(Generation.objects.active, seconds) is None:
        raise TimeoutError(f"No worker made a generation within {seconds:g} s; FAULTS_KEEP=1 keeps the logs.")


def await_processes(site: Site, name: str, count: int = 2, seconds: float = 60.0) -> None:
    """Wait until a program runs with so many processes; the supervisor names it when it has lived for a while.

    Raises TimeoutError.
    """
    if until(lambda: len(site.processes(name)) >= count, seconds) is None:
        raise TimeoutError(f"{name} does not have {count} processes; FAULTS_KEEP=1 keeps the logs.")
