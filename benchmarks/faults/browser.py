"""A browser without a screen: real HTTP with cookies, a login and CSRF, and files under any name."""

from __future__ import annotations

import html
import http.client
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlencode

PATIENCE = 120.0
_TOLD = re.compile(r'<ul class="(messagelist|errorlist)[^"]*"[^>]*>(.*?)</ul>', re.DOTALL)
_ITEM = re.compile(r'<li(?: class="(\w+)")?[^>]*>(.*?)</li>', re.DOTALL)


@dataclass(frozen=True, slots=True)
class File:
    """What is uploaded, with what its sender calls it and says that it is."""

    name: str
    content: bytes
    content_type: str = "image/png"


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server said."""

    status: int
    location: str
    text: str

    def told(self) -> list[tuple[str, str]]:
        """Return the page's messages and errors: of which kind, and in which words."""
        return [
            (item.group(1) or "error", html.unescape(re.sub(r"<[^>]+>", "", item.group(2))).strip())
            for found in _TOLD.finditer(self.text)
            for item in _ITEM.finditer(found.group(2))
        ]


@dataclass
class Browser:
    """One visitor of a site on this machine."""

    port: int
    cookies: dict[str, str] = field(default_factory=dict)
    statuses: list[tuple[str, int]] = field(default_factory=list)
    """Each path that was asked for, with the status of its answer."""

    def login(self, name: str, password: str) -> None:
        self.get("/admin/login/")
        answer = self.post("/admin/login/", {"username": name, "password": password, "next": "/admin/"})
        assert answer.status == 302, f"The login was refused: {answer.told()}"

    def get(self, path: str) -> Answer:
        return self._ask("GET", path, b"", {})

    def post(self, path: str, fields: Mapping[str, str], files: Sequence[tuple[str, File]] = ()) -> Answer:
        """Send a form, with files as pairs of a field's name and a File."""
        fields = {"csrfmiddlewaretoken": self.cookies.get("csrftoken", ""), **fields}
        if not files:
            kind = "application/x-www-form-urlencoded"
            return self._ask("POST", path, urlencode(fields).encode(), {"Content-Type": kind})
        border = secrets.token_hex(16)
        body = b"".join(_part(border, f'name="{name}"', b"", value.encode()) for name, value in fields.items())
        for name, file in files:
            named = f'name="{name}"; filename="{_quoted(file.name)}"'
            body += _part(border, named, b"Content-Type: " + file.content_type.encode() + b"\r\n", file.content)
        body += f"--{border}--\r\n".encode()
        return self._ask("POST", path, body, {"Content-Type": f"multipart/form-data; boundary={border}"})

    def follow(self, answer: Answer) -> Answer:
        """Go where an answer leads."""
        return self.get(answer.location) if answer.status in (301, 302, 303) else answer

    def _ask(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            cookies = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
            connection.request(method, path, body, headers | {"Cookie": cookies, "Accept-Language": "en"})
            answer = connection.getresponse()
            text = answer.read().decode("utf-8", "replace")
            for header in answer.headers.get_all("Set-Cookie", []):
                name, _, value = header.partition(";")[0].partition("=")
                self.cookies[name] = value
            self.statuses.append((path.partition("?")[0], answer.status))
            return Answer(answer.status, answer.headers.get("Location", ""), text)
        finally:
            connection.close()


def _quoted(name: str) -> str:
    """Write a file name as browsers do."""
    return name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")


def _part(border: str, disposition: str, more: bytes, content: bytes) -> bytes:
    head = f"--{border}\r\nContent-Disposition: form-data; {disposition}\r\n".encode("utf-8", "surrogateescape")
    return head + more + b"\r\n" + content + b"\r\n"
