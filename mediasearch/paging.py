"""The pages that hits are shown on, and the addresses that lead to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from django.http import QueryDict

from mediasearch import conf
from mediasearch.search.results import DEEPEST, Outcome


@dataclass(frozen=True, slots=True)
class Page:
    """One page of the hits that can be reached."""

    number: int
    size: int

    @classmethod
    def asked(cls, number: str) -> Page:
        """Read the number from an address; what is no number is the first page."""
        size = min(conf.settings().page_size, DEEPEST)
        last = -(-DEEPEST // size)
        asked = int(number) if number.isdecimal() and len(number) < 10 else 1
        return cls(min(max(asked, 1), last), size)

    @property
    def offset(self) -> int:
        return (self.number - 1) * self.size

    @property
    def limit(self) -> int:
        return min(self.size, DEEPEST - self.offset)


def links(asked: QueryDict, page: Page, outcome: Outcome | None, picture: Mapping[str, list[str]]) -> dict[str, str]:
    """Return the addresses that the page leads to, without what is empty; "" where there is no such page."""
    seen = page.offset + len(outcome.hits) if outcome else 0
    more = outcome is not None and (
        outcome.total > seen or (not outcome.total_is_exact and len(outcome.hits) == page.limit)
    )
    pages = {"page": [str(page.number)]} if page.number > 1 else {}
    scores = {"scores": ["1"]} if asked.get("scores") else {}
    words, narrowed = _given(asked, "q"), _given(asked, "category", "tag", "after", "before")
    question = words | dict(picture)
    return {
        "first": _address(question | narrowed | scores),
        "previous": _address(question | narrowed | scores | {"page": [str(page.number - 1)]})
        if page.number > 1
        else "",
        "next": _address(question | narrowed | scores | {"page": [str(page.number + 1)]})
        if more and seen < DEEPEST
        else "",
        "scores": _address(question | narrowed | pages | ({} if scores else {"scores": ["1"]})),
        "anything": _address(question | scores),
        "without_picture": _address(words | narrowed | scores),
        "is_deepest": "yes" if more and seen >= DEEPEST else "",
    }


def hidden_fields(asked: QueryDict) -> list[tuple[str, str]]:
    """Return all that a search was asked beside its words, as names and values of form fields."""
    fields = _given(asked, "category", "tag", "after", "before", "scores", "picture", "like")
    return [(name, value) for name, values in fields.items() for value in values]


def _given(asked: QueryDict, *names: str) -> dict[str, list[str]]:
    return {name: values for name in names if (values := [value for value in asked.getlist(name) if value])}


def _address(parameters: dict[str, list[str]]) -> str:
    query = QueryDict(mutable=True)
    for name, values in parameters.items():
        query.setlist(name, values)
    return f"?{query.urlencode()}"
