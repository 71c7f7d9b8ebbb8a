"""Editors who upload on the admin's own page: over HTTP, logged in, with the form's token."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

import requests

from benchmarks.faults import uploads

NAME, PASSWORD = "editor", "a password of the experiment"
_LOGIN, _UPLOAD = "/admin/login/", "/admin/mediasearch/asset/upload/"
_TOKEN = "csrfmiddlewaretoken"
_LONGEST = 60.0


@dataclass
class Editor:
    """One person, logged in."""

    site: str
    session: requests.Session = field(default_factory=requests.Session)

    def __post_init__(self) -> None:
        self.session.headers["Connection"] = "close"  # A server may end a connection just when it is used again.
        answer = self._post(_LOGIN, {"username": NAME, "password": PASSWORD, "next": _UPLOAD})
        if answer.status_code != 302:
            raise RuntimeError(f"The admin's login answered {answer.status_code}.")

    def upload(self, number: int) -> tuple[bool, float]:
        """Upload a picture; return whether the page took it, and after how many seconds."""
        file = (f"{number}.png", uploads.picture(number), "image/png")
        token = self.session.cookies["csrftoken"]
        started = time.monotonic()
        try:
            answer = self._send(_UPLOAD, {_TOKEN: token}, {"pictures": file})
        except requests.RequestException:
            return False, time.monotonic() - started
        taken = answer.status_code == 302 and answer.headers["Location"] != _UPLOAD
        return taken, time.monotonic() - started

    def _post(self, path: str, data: dict[str, str]) -> requests.Response:
        self.session.get(self.site + path, timeout=_LONGEST)
        return self._send(path, {**data, _TOKEN: self.session.cookies["csrftoken"]})

    def _send(
        self, path: str, data: dict[str, str], files: dict[str, tuple[str, bytes, str]] | None = None
    ) -> requests.Response:
        return self.session.post(self.site + path, data, files=files, timeout=_LONGEST, allow_redirects=False)


def create_account() -> None:
    from django.contrib.auth.models import User

    User.objects.create_superuser(NAME, password=PASSWORD)


def upload_all(site: str, numbers: range, seconds: float, editors: int) -> list[tuple[bool, float]]:
    """Have some editors upload pictures at the same time, evenly spread over some seconds; return how each went."""
    went: list[tuple[bool, float]] = []
    coming, gap, started = iter(numbers), seconds / len(numbers), time.monotonic()
    next_one = threading.Lock()

    def work(editor: Editor) -> None:
        while True:
            with next_one:
                number = next(coming, None)
            if number is None:
                return
            time.sleep(max(0.0, started + (number - numbers.start) * gap - time.monotonic()))
            went.append(editor.upload(number))

    threads = [threading.Thread(target=work, args=[Editor(site)]) for _ in range(editors)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return went
