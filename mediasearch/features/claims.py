"""What a question claims of a thing, and whether a text says otherwise: platform 9, a red bus, no dogs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mediasearch.features.passages import Passage, Place
from mediasearch.features.vocabulary import DENIAL, FOLLOWING, Value, agree, is_filling, value

_BEHIND, _BEFORE = -1, 1
"""Which way it is from a value to its thing: the value stands behind the thing, or before it."""
_REACH = 4
"""Places that lie between a thing and its value at most."""
Find = Callable[[str], Sequence[Place]]


@dataclass(frozen=True, slots=True)
class Claim:
    """That something is so and not otherwise."""

    value: Value
    things: tuple[tuple[str, int], ...]
    """The words that it is said of, and the way there."""


def claims(question: Passage) -> list[Claim]:
    """Return what a question claims."""
    found = []
    for at, head in sorted(question.heads.items()):
        if (meant := value(head)) is None:
            continue
        things = [(_thing(question, at, way, reach, meant.kind), way) for way, reach in _ways(meant.kind)]
        said_of = tuple((thing, way) for thing, way in things if thing)
        if said_of:
            # A number may say which one it is, and may count what comes after it.
            found.append(Claim(meant, said_of if meant.kind == "number" else said_of[:1]))
    return found


def contradicted(claim: Claim, passage: Passage, find: Find) -> float:
    """Return, from 0 to 1, how surely a text says something else of the same thing, and nowhere the same."""
    worst = 0.0
    for thing, way in claim.things:
        for place in find(thing):
            said = _said(passage, place.at, -way, claim.value.kind, _REACH) or _said(
                passage, place.at, way, claim.value.kind, 1
            )
            if any(agree(claim.value, other) for other in said):
                return 0.0
            if said:
                worst = max(worst, place.strength)
    return worst


def is_denied(passage: Passage, at: int) -> bool:
    """Does a text say that there is no such thing, or that it may not be?"""
    return DENIAL in _said(passage, at, -1, DENIAL.kind, _REACH)


def _ways(kind: str) -> list[tuple[int, int]]:
    """The ways to look for what a value belongs to, the likelier first, each with how far."""
    return [(_BEHIND, 2), (_BEFORE, 2)] if kind in FOLLOWING else [(_BEFORE, _REACH), (_BEHIND, 2)]


def _thing(question: Passage, at: int, way: int, reach: int, kind: str) -> str:
    for step in range(1, reach + 1):
        head = question.heads.get(at + way * step, "")
        meant = value(head)
        if head and not is_filling(head) and not (meant and meant.kind in (kind, "number")):
            return head
    return ""


def _said(passage: Passage, at: int, way: int, kind: str, reach: int) -> list[Value]:
    """The values of a kind that stand beside a word, with nothing between them but what joins words."""
    found = []
    for step in range(1, reach + 1):
        head = passage.heads.get(at + way * step, "")
        meant = value(head)
        if meant and meant.kind == kind:
            found.append(meant)
        elif head and not is_filling(head):
            break
    return found
