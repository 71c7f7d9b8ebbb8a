"""The whole site on one machine, by one command: `python -m project.demo [FOLDER] [--port 8000]`, or `make demo`.

PostgreSQL, Valkey, a web server, three workers and beat run under supervisord until Ctrl-C; all data lies in `.demo`.
"""

from __future__ import annotations

import argparse
import errno
import fcntl
import os
import secrets
import signal
import subprocess
import sys
import time
import traceback
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from project import leftovers, preflight
from project.addresses import other_number
from project.screen import Screen, bars
from project.services import ServiceError, postgres, valkey
from project.services.process import until
from project.supervision import BASE, Supervisor, service, site

if TYPE_CHECKING:
    from project.content import Progress

DATA = Path(os.environ.get("MEDIASEARCH_DATA", BASE / ".demo")).resolve()
LOGS = DATA / "logs"
_LOOK_EVERY = 1.0


class Trouble(Exception):
    """The demo can't go on; the message is one sentence for people."""


class Demo:
    """One run, from the first check until everything has ended."""

    def __init__(self, port: int, folder: Path | None) -> None:
        self.port, self.folder, self.screen = port, folder, Screen()
        self.password = ""
        self._lock: TextIO | None = None
        self._supervisor: Supervisor | None = None
        self._assembly: subprocess.Popen[bytes] | None = None

    def run(self) -> None:
        """Start everything, show the progress, and stay until told to stop."""
        self._check()
        self.screen.say("mediasearch: the demo starts. Ctrl-C ends it.")
        environment = self._environment()
        self._assemble(environment)
        self._start_services(environment)
        self._start_site()
        self._import()
        self._watch()

    def stop(self) -> None:
        """End everything that was started; a second Ctrl-C ends it the hard way."""
        if not self._supervisor and not self._assembly:
            return  # What runs may be another terminal's.
        self.screen.say("\nStopping …")
        try:
            processes = leftovers.find(DATA)
            if self._supervisor:
                self._supervisor.stop()
            leftovers.finish(processes)
        except KeyboardInterrupt:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            leftovers.end(DATA, hard=True)
        self.screen.say("Stopped. `make demo` goes on with the same data.")

    def _check(self) -> None:
        if self.folder and not self.folder.is_dir():
            raise Trouble(f"There is no folder {self.folder}.")
        if "%" in str(DATA) or " ;" in str(DATA):
            raise Trouble(f"supervisord can't work in {DATA}, whose name has a `%` or a ` ;`: rename that folder.")
        if problem := preflight.disk_problem(DATA, preflight.TO_RUN):
            raise Trouble(problem)
        LOGS.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = (DATA / "lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise Trouble(f"The demo of {DATA} runs already, in another terminal: end that one first.") from error
        if number := leftovers.end(DATA):
            self.screen.say(f"Ended {number} processes that an earlier run had left behind.")
        if problem := preflight.port_problem(self.port):
            raise Trouble(problem)

    def _environment(self) -> dict[str, str]:
        self.password = _kept_secret(DATA / "admin-password", 9)
        threads = str(max(1, (os.cpu_count() or 2) // 2))
        ours = {
            leftovers.MARK: str(DATA),
            "MEDIASEARCH_DATA": str(DATA),
            "DJANGO_SETTINGS_MODULE": "project.settings",
            "SECRET_KEY": _kept_secret(DATA / "secret-key", 48),
            "ALLOWED_HOSTS": "localhost,127.0.0.1",
            "DEBUG": "",
            "BIND": f"127.0.0.1:{self.port}",
            "OMP_NUM_THREADS": threads,
            "TOKENIZERS_PARALLELISM": "false",
            "PYTHONUNBUFFERED": "1",
        }
        return {**os.environ, **ours}

    def _assemble(self, environment: dict[str, str]) -> None:
        """Put mini-clip together beside everything else, where it is the model and is not there yet."""
        model = DATA / "mini-clip"
        if os.environ.get("MEDIASEARCH_MODEL"):
            return
        with (LOGS / "mini-clip.log").open("wb") as output:
            self._assembly = subprocess.Popen(
                [sys.executable, "-m", "project.miniclip", str(model)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=BASE,
                env=environment,
                start_new_session=True,
            )

    def _start_services(self, environment: dict[str, str]) -> None:
        database, broker = postgres.prepare(DATA / "postgres"), valkey.prepare(DATA / "valkey", durable=True)
        environment |= {"DATABASE_URL": database.url, "REDIS_URL": broker.url}
        environment["CACHE_URL"] = other_number(broker.url)
        programs = [service("postgres", database), service("valkey", broker), *site(DATA)]
        self._supervisor = Supervisor(DATA, programs, environment)
        self._supervisor.wait()
        with self.screen.step("PostgreSQL"):
            until(lambda: postgres.create_database(database.url), "PostgreSQL", LOGS / "postgres.log")
        with self.screen.step("Valkey"):
            until(lambda: valkey.ping(broker.url), "Valkey", LOGS / "valkey.log")
        os.environ.update(environment)
        os.environ.pop(leftovers.MARK)

    def _start_site(self) -> None:
        assert self._supervisor
        with self.screen.step("Database and administrator"):
            import django

            django.setup()
            from project import content

            content.prepare(self.password)
        with self.screen.step("Web server"):
            self._supervisor.start("web")
            until(self._answers, "The web server", LOGS / "web.log")
        self.screen.say(f"  The page answers at {self._address('/')} and fills while the pictures are indexed.")
        self._supervisor.start("worker-read", "beat")
        with self.screen.step("Model and workers"):
            if self._assembly and self._assembly.wait():
                said = (LOGS / "mini-clip.log").read_text(errors="replace").strip().splitlines()
                raise Trouble(f"The demo's model can't be assembled: {said[-1] if said else 'no reason was given.'}")
            self._supervisor.start("worker-embed", "worker-query")

    def _import(self) -> None:
        from project import content

        if self.folder:
            content.import_folder(self.folder)
            return
        total = 0
        for number, total in content.import_library():
            if self.screen.terminal:
                self.screen.show([f"  Sample library … {number}/{total}"], last=number == total)
        if not self.screen.terminal:
            self.screen.say(f"  Sample library … {total} pictures")

    def _watch(self) -> None:
        """Show the progress until nothing is owed, say where everything is, and wait for Ctrl-C."""
        progress, started = self._look(), time.monotonic()
        while not progress.finished:
            self.screen.show(bars(progress, wide=self.screen.terminal))
            time.sleep(_LOOK_EVERY)
            progress = self._look()
        self.screen.show(bars(progress, wide=self.screen.terminal), last=True)
        self._sum_up(progress, time.monotonic() - started)
        while True:
            time.sleep(_LOOK_EVERY)
            self._see_supervisor()

    def _look(self) -> Progress:
        from django import db

        from project import content

        while True:
            self._see_supervisor()
            try:
                return content.progress()
            except (db.OperationalError, db.InterfaceError):  # PostgreSQL is being restarted.
                db.close_old_connections()
                time.sleep(_LOOK_EVERY)

    def _sum_up(self, progress: Progress, seconds: float) -> None:
        from django import db

        db.connections.close_all()
        failed = f"; {progress.failed} jobs failed, and the admin says why" if progress.failed else ""
        self.screen.say(f"\n{progress.pictures} pictures are indexed ({seconds:.0f} s){failed}.\n")
        self.screen.say(f"Search   {self._address('/')}")
        self.screen.say(f"Admin    {self._address('/admin/')}   (admin / {self.password})")
        self.screen.say("Stop     Ctrl-C; `make demo` goes on with the same data.")

    def _see_supervisor(self) -> None:
        if self._supervisor and not self._supervisor.alive():
            raise Trouble(f"supervisord has ended, and with it the demo; {LOGS} says why.")

    def _address(self, path: str) -> str:
        return f"http://localhost:{self.port}{path}"

    def _answers(self) -> bool:
        self._see_supervisor()
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{self.port}/", timeout=5).close()
        except urllib.error.HTTPError as answer:
            return answer.code < 500
        except OSError:
            return False
        return True


def _kept_secret(path: Path, size: int) -> str:
    """Return the secret of a file, made at random the first time."""
    if not path.exists() or not path.read_text().strip():
        path.touch(mode=0o600)
        path.write_text(secrets.token_urlsafe(size) + "\n")
    return path.read_text().strip()


def _sentence(error: Exception) -> str:
    """Return what went wrong, in one sentence; what nobody foresaw also goes to a log."""
    if isinstance(error, Trouble | ServiceError):
        return str(error)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"The disk of {DATA} is full: make room and run it again."
    from django.core.management import CommandError

    if isinstance(error, CommandError):
        return str(error)
    log = LOGS / "demo.log"
    with suppress(OSError):
        log.write_text("".join(traceback.format_exception(error)))
    return f"The demo failed ({type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}); see {log}."


def main(arguments: list[str] | None = None) -> int:
    """Run the demo; return 0 where it was stopped, 1 where it could not go on."""
    parser = argparse.ArgumentParser(prog="python -m project.demo", description="Run the whole site on this machine.")
    parser.add_argument("folder", nargs="?", type=lambda text: Path(text).expanduser(), help="index this folder")
    parser.add_argument("--port", type=int, default=8000, help="of the web server; 8000 by default")
    options = parser.parse_args(arguments)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    demo = Demo(options.port, options.folder)
    try:
        demo.run()
    except KeyboardInterrupt:
        return 0
    except Exception as error:
        print(_sentence(error), file=sys.stderr)
        return 1
    finally:
        demo.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
