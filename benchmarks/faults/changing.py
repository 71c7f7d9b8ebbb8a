"""Editors who change pictures on the admin's own page: they open it, and send back every field that it bears."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser

import requests

from benchmarks.faults.editors import Editor

LONGEST = 60.0
_FORM = "asset_form"
_UNSENT, _TICKED = ("file", "submit", "button"), ("checkbox", "radio")


@dataclass
class Page(HTMLParser):
    """What a browser would send of the form of one picture, hidden inputs and all."""

    data: list[tuple[str, str]] = field(default_factory=list)
    _within: bool = False
    _area: str | None = None
    _select: str | None = None

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        name = given.get("name") or ""
        if tag == "form":
            self._within = given.get("id") == _FORM
        if not self._within:
            return
        kind = given.get("type", "text")
        if tag == "textarea":
            self._area = name
            self.data.append((name, ""))
        elif tag == "select":
            self._select = name
        elif tag == "option" and self._select and "selected" in given:
            self.data.append((self._select, given.get("value") or ""))
        elif tag == "input" and name and kind not in _UNSENT and (kind not in _TICKED or "checked" in given):
            self.data.append((name, given.get("value") or "on" * (kind == "checkbox")))

    def handle_endtag(self, tag: str) -> None:
        self._within = self._within and tag != "form"
        if tag == "textarea":
            self._area = None
        elif tag == "select":
            self._select = None

    def handle_data(self, text: str) -> None:
        if self._area is not None:
            name, before = self.data[-1]
            # The first line break after <textarea> is not part of what it holds.
            self.data[-1] = (name, before + (text if before else text.removeprefix("\r\n").removeprefix("\n")))


@dataclass
class Changer(Editor):
    """One person who changes pictures."""

    def open(self, asset: int) -> list[tuple[str, str]]:
        """Return what the page of a picture would send back unchanged. Raises requests.RequestException."""
        answer = self.session.get(self._address(asset), timeout=LONGEST)
        answer.raise_for_status()
        page = Page()
        page.feed(answer.text)
        if not page.data:
            raise requests.RequestException(f"The page of picture {asset} has no form {_FORM}.")
        return page.data

    def send(self, asset: int, data: list[tuple[str, str]], **changes: str) -> str:
        """Send a page back with changes; return "" where it was stored, else what the page said."""
        told = [(name, changes.get(name, value)) for name, value in data]
        answer = self.session.post(self._address(asset), told, timeout=LONGEST, allow_redirects=False)
        if answer.status_code == 302:
            return ""
        return f"{answer.status_code}: {_errors(answer.text)}"

    def _address(self, asset: int) -> str:
        return f"{self.site}/admin/mediasearch/asset/{asset}/change/"


def _errors(page: str) -> str:
    start = page.find("errorlist")
    return page[start : start + 200] if start >= 0 else page[:200]
