"""Servers on loopback that answer as they like, and count who comes."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

Reply = Callable[[socket.socket], None]
PATIENCE = 10.0
"""Seconds after which a server gives up on a client."""


@dataclass
class Server:
    """A listening socket, and what came to it."""

    port: int
    accepted: int = 0
    requests: list[bytes] = field(default_factory=list)
    sent: int = 0
    names: list[str | None] = field(default_factory=list)
    """The names that TLS was asked for."""


def answer(body: bytes = b"", *, status: str = "200 OK", **headers: str) -> bytes:
    """An answer with its length; `content_type="image/png"` becomes a header."""
    told = {"Content-Length": str(len(body))} | {name.replace("_", "-"): value for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in told.items())
    return f"HTTP/1.1 {status}\r\n{head}\r\n".encode() + body


@contextmanager
def serving(
    *replies: bytes | Reply, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None, reads: bool = True
) -> Iterator[Server]:
    """Answer one client after the other, the last answer again and again."""
    listener = socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    server = Server(listener.getsockname()[1])
    if tls:
        tls.sni_callback = lambda sock, name, context: server.names.append(name)

    def serve() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return  # It was closed.
            server.accepted += 1
            reply = replies[min(server.accepted, len(replies)) - 1] if replies else b""
            client.settimeout(PATIENCE)
            with suppress(OSError), client:
                _talk(tls.wrap_socket(client, server_side=True) if tls else client, reply)

    def _talk(client: socket.socket, reply: bytes | Reply) -> None:
        with client:
            if reads:
                server.requests.append(_request(client))
            if callable(reply):
                reply(client)
            else:
                client.sendall(reply)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)  # Wakes who waits for a client.
        listener.close()
        thread.join(PATIENCE)


def _request(client: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data and len(data) < 100_000:
        piece = client.recv(4_096)
        if not piece:
            break
        data += piece
    return data
