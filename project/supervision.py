"""The demo's processes under supervisord: which they are, its configuration, and how it is spoken to."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import xmlrpc.client
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any

from supervisor.xmlrpc import SupervisorTransport

from project.services import ServiceError, sockets
from project.services.process import Service, until

BASE = Path(__file__).resolve().parent.parent
SERVICES, SITE = "services", "site"
"""The groups: the site stops before the services it needs."""
STOP_SECONDS = 20


@dataclass(frozen=True, slots=True)
class Program:
    """One process to keep running."""

    name: str
    command: tuple[str, ...]
    group: str = SITE
    stop_signal: str = "TERM"
    user: str | None = None
    folder: Path = BASE


def service(name: str, how: Service) -> Program:
    """Return an embedded service as a program."""
    return Program(name, how.command, SERVICES, how.stop_signal, how.user, how.folder)


def site(run: Path) -> list[Program]:
    """Return the web server, the workers and beat; what they write for themselves goes to the folder `run`."""
    python = (sys.executable, "-m")
    celery = (*python, "celery", "--app", "project")
    web = Program("web", (*python, "gunicorn", "--config", "python:project.web", "project.wsgi"))
    beat = Program("beat", (*celery, "beat", "--schedule", str(run / "beat-schedule"), "--pidfile", ""))
    return [web, *(_worker(celery, queue) for queue in ("read", "embed", "query")), beat]


def _worker(celery: tuple[str, ...], queue: str) -> Program:
    prefix = os.environ.get("QUEUE_PREFIX", "mediasearch")  # As the settings read it.
    options = ("--queues", f"{prefix}.{queue}", "--concurrency", "1", "--hostname", f"{queue}@demo")
    alone = ("--without-gossip", "--without-mingle")
    # QUIT: finish within CELERY_WORKER_SOFT_SHUTDOWN_TIMEOUT; TERM would wait for as long as there is work.
    return Program(f"worker-{queue}", (*celery, "worker", *options, *alone), stop_signal="QUIT")


def configuration(folder: Path, programs: Iterable[Program]) -> str:
    """Return supervisord's configuration; the environment that the programs need is supervisord's own."""
    logs, control = folder / "logs", _control(folder)
    programs = list(programs)
    sections: dict[str, dict[str, object]] = {
        "supervisord": {
            "nodaemon": "true",
            "silent": "true",
            "logfile": logs / "supervisord.log",
            "pidfile": folder / "supervisord.pid",
            "childlogdir": logs,
            **({"user": "root"} if os.geteuid() == 0 else {}),
        },
        "unix_http_server": {"file": control, "chmod": "0700"},
        "rpcinterface:supervisor": {
            "supervisor.rpcinterface_factory": "supervisor.rpcinterface:make_main_rpcinterface"
        },
        "supervisorctl": {"serverurl": f"unix://{control}"},
        **{f"program:{program.name}": _program(program, logs) for program in programs},
    }
    for priority, group in enumerate((SERVICES, SITE), start=1):
        names = [program.name for program in programs if program.group == group]
        sections[f"group:{group}"] = {"programs": ",".join(names), "priority": priority}
    return "\n".join(
        f"[{name}]\n" + "".join(f"{key} = {_escaped(value)}\n" for key, value in section.items())
        for name, section in sections.items()
    )


def _control(folder: Path) -> Path:
    return sockets.folder_for(folder) / "supervisor.sock"


def _program(program: Program, logs: Path) -> dict[str, object]:
    return {
        "command": shlex.join(program.command),
        "directory": program.folder,
        "autostart": "true" if program.group == SERVICES else "false",
        "autorestart": "true",
        "startsecs": 2,
        "startretries": 1_000_000,
        "stopsignal": program.stop_signal,
        "stopwaitsecs": STOP_SECONDS,
        "killasgroup": "true",  # But no `stopasgroup`: TERM would end a worker's pool in the middle of a picture.
        "redirect_stderr": "true",
        "stdout_logfile": logs / f"{program.name}.log",
        "stdout_logfile_maxbytes": "10MB",
        "stdout_logfile_backups": 1,
        **({"user": program.user} if program.user else {}),
    }


def _escaped(value: object) -> str:
    return str(value).replace("%", "%%")


class Supervisor:
    """A supervisord of our own, in a session of its own so that Ctrl-C reaches us alone."""

    def __init__(self, folder: Path, programs: Iterable[Program], environment: Mapping[str, str]) -> None:
        self.folder = folder
        configured = folder / "supervisord.conf"
        configured.write_text(configuration(folder, programs))
        command = [sys.executable, "-m", "supervisor.supervisord", "--nodaemon", "--configuration", str(configured)]
        with (folder / "logs" / "supervisord.out").open("wb") as output:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=BASE,
                env=dict(environment),
                start_new_session=True,
            )

    def alive(self) -> bool:
        return self._process.poll() is None

    def wait(self) -> None:
        """Wait until it can be spoken to. Raises ServiceError."""

        log = self.folder / "logs" / "supervisord.out"

        def answers() -> bool:
            if not self.alive():
                raise ServiceError(f"supervisord ended at once; {log} says why.")
            with suppress(OSError, HTTPException):
                return bool(self._call("getState")["statename"] == "RUNNING")
            return False

        until(answers, "supervisord", log)

    def start(self, *names: str) -> None:
        """Start programs, without waiting for them."""
        groups = self._groups()
        for name in names:
            self._call("startProcess", f"{groups[name]}:{name}", False)

    def pid(self, name: str) -> int:
        """Return the id of a program's process, 0 where it does not run."""
        known = self._call("getAllProcessInfo")
        return next((int(one["pid"]) for one in known if one["name"] == name and one["statename"] == "RUNNING"), 0)

    def end(self, name: str) -> None:
        """Stop one program, and leave it so until it is started again."""
        self._call("stopProcess", f"{self._groups()[name]}:{name}")

    def stop(self) -> None:
        """Stop all programs, the site first, and supervisord itself."""
        if self.alive():
            self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(3 * STOP_SECONDS)

    def _groups(self) -> dict[str, str]:
        return {one["name"]: one["group"] for one in self._call("getAllProcessInfo")}

    def _call(self, method: str, *arguments: Any) -> Any:
        transport = SupervisorTransport(None, None, f"unix://{_control(self.folder)}")
        with xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport) as server:
            return getattr(server.supervisor, method)(*arguments)
