"""Who holds a claim on this machine, and does it still live?

Each process that claims keeps a file of its own locked, and its tokens begin with the file's name. The kernel unlocks
the file whichever way the process ends; what it held is then taken back at once, while leases tell the same of other
machines, later. The file also says which batches were in a model (several, where threads share a process), as those
are under suspicion and no others are.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import secrets
import tempfile
import threading
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from django.db import connections, router

from mediasearch.models import Job

logger = logging.getLogger(__name__)
_BYTES = 8
"""Of a token's sixteen, those that name its owner."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A process that is gone: its tokens lie from `first` to `last`."""

    first: uuid.UUID
    last: uuid.UUID
    computed: frozenset[uuid.UUID]
    """Tokens of the batches that were in a model."""
    file: Path


@dataclass(frozen=True, slots=True)
class _Owner:
    name: bytes
    process: int
    file: int | None
    computing: list[uuid.UUID] = field(default_factory=list)
    """What the file holds: one token for each thread that has a batch in a model."""


_current: _Owner | None = None
_lock = threading.Lock()
"""Held for a moment, by whoever makes the owner or writes its file."""


def token() -> uuid.UUID:
    """Return a new token of this process's."""
    return uuid.UUID(bytes=_owner().name + secrets.token_bytes(16 - _BYTES))


@contextmanager
def computing(token: uuid.UUID | None) -> Iterator[None]:
    """Note that the batch with this token is in the model, for as long as the `with` lasts."""
    owner = _owner()
    if owner.file is None or token is None:
        yield
        return
    with _lock:
        owner.computing.append(token)
        _write(owner.file, owner.computing)
    try:
        yield
    finally:
        with _lock:
            owner.computing.remove(token)
            _write(owner.file, owner.computing)


def _write(file: int, tokens: list[uuid.UUID]) -> None:
    content = b"".join(token.bytes for token in tokens)
    os.pwrite(file, content, 0)
    os.ftruncate(file, len(content))  # After the write: killed in between, a token is there twice, and none is missing.


@contextmanager
def ended() -> Iterator[list[Ended]]:
    """Find the processes of this machine that are gone; whoever is left in the list is forgotten, if all ends well."""
    found: list[Ended] = []
    with ExitStack() as locks:
        for path in _files():
            with suppress(OSError):  # Locked, so it lives; or another sweep was quicker.
                file = locks.enter_context(path.open("rb"))
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                name, content = bytes.fromhex(path.name), file.read()
                first, last = (uuid.UUID(bytes=name + byte * (16 - _BYTES)) for byte in (b"\x00", b"\xff"))
                found.append(Ended(first, last, frozenset(_tokens(content)), path))
        yield found
        for one in found:
            one.file.unlink(missing_ok=True)


def anybody_ended() -> bool:
    """Is there a process to be asked about? Costs nothing but a look into a folder."""
    with ended() as found:
        known = bool(found)
        found.clear()
    return known


def _tokens(content: bytes) -> Iterator[uuid.UUID]:
    for start in range(0, len(content) - 15, 16):
        yield uuid.UUID(bytes=content[start : start + 16])


def _owner() -> _Owner:
    """Return who this process is; a forked one is another, and all threads of one are the same."""
    global _current
    with _lock:
        if _current is None or _current.process != os.getpid():
            name = secrets.token_bytes(_BYTES)
            try:
                file: int | None = _locked(name)
            except OSError as error:
                logger.warning(
                    "Without a file of its own (%s), a worker that dies is missed only by its leases.", error
                )
                file = None
            _current = _Owner(name, os.getpid(), file)
        return _current


def _locked(name: bytes) -> int:
    folder = _folder()
    folder.mkdir(mode=0o700, exist_ok=True)
    unlocked = folder / f"{name.hex()}.new"  # Nobody takes it for a dead one's until it is locked.
    file = os.open(unlocked, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    fcntl.flock(file, fcntl.LOCK_EX)
    unlocked.rename(folder / name.hex())
    return file


def _files() -> list[Path]:
    try:
        return [path for path in _folder().iterdir() if not path.suffix]
    except OSError:
        return []


def _folder() -> Path:
    """The folder of this user and database, in the machine's own place for what does not outlive it."""
    place = connections[router.db_for_write(Job)].settings_dict
    site = hashlib.sha256(repr([place.get(key) for key in ("HOST", "PORT", "NAME")]).encode()).hexdigest()[:12]
    folder = Path(tempfile.gettempdir(), f"mediasearch-{os.geteuid()}-{site}")
    with suppress(FileNotFoundError):
        found = folder.lstat()
        if found.st_uid != os.geteuid() or folder.is_symlink():
            raise PermissionError(f"{folder} belongs to somebody else")
    return folder
