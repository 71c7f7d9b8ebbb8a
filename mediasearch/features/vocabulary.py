"""Words of which a thing has one and not another: a bus that is red is not blue, and platform 9 is not platform 6.

In English and Chinese; numbers are the same in every language.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from mediasearch.features.lexemes import STOP_WORDS


class Value(NamedTuple):
    """What a word stands for."""

    kind: str
    name: str


_WORDS = {
    "colour": (
        "red 红/green 绿/blue 蓝/yellow 黄/orange 橙/purple violet 紫/pink 粉/brown 棕 褐/black 黑/white 白"
        "/grey gray 灰/golden 金/silver 银"
    ),
    "number": "2 two/3 three/4 four/5 five/6 six/7 seven/8 eight/9 nine/10 ten/11 eleven/12 twelve",
    "side": "left 左/right 右",
    "compass": "north northern 北/south southern 南/east eastern 东/west western 西",
    "way": "exit 出/entrance entry 入",
    "state": "open 开/closed 关",
    "handle": "push 推/pull 拉",
    "traffic": "arrivals/departures",
    "leave": "no not without 无 勿 禁/allowed permitted welcome 许",
    "day": "monday/tuesday/wednesday/thursday/friday/saturday/sunday",
    "month": "january/february/march/april/may/june/july/august/september/october/november/december",
}
_VALUES = {
    word: Value(kind, group.split()[0])
    for kind, groups in _WORDS.items()
    for group in groups.split("/")
    for word in group.split()
}
FOLLOWING = frozenset({"number", "side", "day", "month"})
"""Kinds that stand behind what they belong to, as in "platform 9"; the others stand before it, as in "red bus"."""
DENIAL = Value("leave", "no")
_FILLING = STOP_WORDS | {"的", "色", "是", "在", "了", "和"}


@lru_cache(8192)
def value(word: str) -> Value | None:
    """Return what a word stands for, if it is one of these. A number or a code stands for itself."""
    if any(character.isdigit() for character in word):
        return Value("number", word)
    return _VALUES.get(word)


def agree(asked: Value, found: Value) -> bool:
    """Are two values of a kind the same, or is one a part of the other, as 12 is of 12-A?"""
    return asked == found or (asked.kind == "number" and asked.name in found.name.split("-"))


def is_filling(word: str) -> bool:
    """Is it a word that only joins others?"""
    return word in _FILLING
