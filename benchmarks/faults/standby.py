"""A standby of the experiment's PostgreSQL: a base backup that streams, and applies each commit some seconds later."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from urllib.parse import quote

from benchmarks.faults import routers
from benchmarks.faults.site import until
from benchmarks.faults.troubled import place
from project import leftovers
from project.services import postgres
from project.services.process import as_user

_LONGEST = 60.0


class Standby:
    """A server whose address is known before it runs, as the site's processes are told it when they start."""

    def __init__(self, delay: float) -> None:
        self._delay = delay
        self._socket = Path(tempfile.mkdtemp(prefix="mediasearch-standby-"))
        self._user = postgres._account() if os.geteuid() == 0 else None
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"postgresql://postgres@/{postgres.DATABASE}?host={quote(str(self._socket), safe='')}"

    def __enter__(self) -> Standby:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()
        shutil.rmtree(self._socket, ignore_errors=True)

    def start(self, folder: Path) -> None:
        """Copy the primary, run the copy, and let the router read from it. Raises TimeoutError."""
        from django.db import connection

        data, primary = folder / "standby", str(connection.settings_dict["HOST"])
        binaries = postgres._binaries().folder
        backup = [str(binaries / "pg_basebackup"), "--host", primary, "--username", "postgres", "--pgdata", str(data)]
        subprocess.run([*backup, "--write-recovery-conf", "--checkpoint", "fast"], check=True, capture_output=True)
        if self._user:
            for path in [self._socket, data, *data.rglob("*")]:
                shutil.chown(path, self._user)
        options = {"recovery_min_apply_delay": f"{int(1e3 * self._delay)}ms", "hot_standby_feedback": "on"}
        command = [str(binaries / "postgres"), "-D", str(data), "-h", "", "-k", str(self._socket)]
        command += [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        environment = os.environ | {leftovers.MARK: str(folder)}
        with (folder / "logs" / "standby.log").open("wb") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=data, env=environment,
                **as_user(self._user),
            )  # fmt: skip
        if until(lambda: postgres.create_database(self.url), _LONGEST) is None:
            raise TimeoutError(f"The standby did not answer within {_LONGEST:g} s.")
        self.ask(True)

    def ask(self, reads: bool) -> None:
        """Have the site's reads go to it, or to the primary."""
        flag = place(routers.FLAG)
        flag.touch() if reads else flag.unlink(missing_ok=True)

    def lag(self) -> float:
        """Return the seconds until the standby shows what is committed now."""
        from django.db import connection, connections

        with connection.cursor() as primary, connections["replica"].cursor() as replica:
            primary.execute("INSERT INTO faults_effect (what) VALUES ('lag') RETURNING id")
            (key,) = primary.fetchone()
            started = time.monotonic()
            while time.monotonic() - started < _LONGEST:
                replica.execute("SELECT 1 FROM faults_effect WHERE id = %s", [key])
                if replica.fetchone():
                    break
                time.sleep(0.1)
            return time.monotonic() - started

    def stop(self) -> None:
        """Have all be read from the primary again, and end the standby."""
        from django.db import connections

        if self._process is None:
            return
        self.ask(False)
        connections["replica"].close()
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(20.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._process = None
