"""A PgBouncer in transaction mode before the tests' own server."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from urllib.parse import quote

import psycopg
from django.db import connection

from project.services.process import as_user

BINARY = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin:/usr/local/sbin")
ACCOUNT = "pgserver"
"""Whom it runs as where we are root, for it refuses to be; the tests' server has made this user."""


class Pooler:
    """Runs until it is stopped; a few sessions to the server are shared by whoever comes."""

    def __init__(self) -> None:
        assert BINARY
        place = connection.settings_dict
        user = ACCOUNT if os.geteuid() == 0 else None
        self.folder = Path(tempfile.mkdtemp(prefix="mediasearch-pooler-"))
        (self.folder / "pgbouncer.ini").write_text(
            f"[databases]\n* = host={place['HOST']} user={place['USER']}\n"
            f"[pgbouncer]\nlisten_addr =\nlisten_port = 6432\nunix_socket_dir = {self.folder}\nauth_type = any\n"
            # Each transaction comes to another session than the one before.
            f"pool_mode = transaction\nserver_round_robin = 1\nmin_pool_size = 2\ndefault_pool_size = 4\n"
            f"logfile = {self.folder}/log\n"
        )
        if user:
            os.chown(self.folder, pwd.getpwnam(user).pw_uid, -1)
        self.url = f"postgresql://{place['USER']}@:6432/{place['NAME']}?host={quote(str(self.folder), safe='')}"
        self._process = subprocess.Popen(
            [BINARY, "--quiet", str(self.folder / "pgbouncer.ini")], stderr=subprocess.DEVNULL, **as_user(user)
        )
        end = time.monotonic() + 10
        while not self._answers():
            assert time.monotonic() < end, self.said()
            time.sleep(0.05)

    def _answers(self) -> bool:
        try:
            with psycopg.connect(self.url, connect_timeout=2) as session:
                return session.execute("SELECT 1").fetchone() == (1,)
        except psycopg.OperationalError:
            return False

    def said(self) -> str:
        log = self.folder / "log"
        return log.read_text(errors="replace") if log.exists() else "PgBouncer did not start."

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(10)
        shutil.rmtree(self.folder)
