"""Loads of models, engines and whole stores of vectors: once each, however many threads need one at the same moment.

`functools.lru_cache` has two threads that miss at the same moment load twice, and so has `functools.cached_property`
from Python 3.12 on; before, that has all instances of a class wait for each other's loads.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Generic, TypeVar, overload

T = TypeVar("T")
_clock = count()


class Loads(Generic[T]):
    """Loads that are under way, by key; those of different keys don't wait for each other."""

    def __init__(self) -> None:
        self._under_way: dict[tuple[int, Hashable], Future[T]] = {}

    def share(self, key: Hashable, load: Callable[[], T]) -> T:
        """Return what `load` returns here, or in the thread that is loading this key already.

        `load` first looks whether the value is there by now. Raises what it raises, in all threads that waited for
        it: a hub that times out costs each of them one time-out. The next thread loads again.
        """
        place, mine = (os.getpid(), key), Future[T]()  # A thread that loads does not live on in a forked process.
        while (current := self._under_way.setdefault(place, mine)) is not mine:
            with suppress(CancelledError):
                return current.result()
        try:
            value = load()
        except BaseException as error:
            del self._under_way[place]
            if isinstance(error, Exception):
                mine.set_exception(error)
            else:  # This thread is to end, and no other.
                mine.cancel()
            raise
        del self._under_way[place]
        mine.set_result(value)
        return value


class loaded_property(Generic[T]):  # noqa: N801 (named like Python's and Django's `cached_property`)
    """An attribute that is loaded when first looked at: once for each instance, which waits for no other one's load."""

    def __init__(self, load: Callable[[Any], T]) -> None:
        self._load, self.__doc__ = load, load.__doc__
        self._loads: Loads[T] = Loads()

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, instance: None, owner: type) -> loaded_property[T]: ...
    @overload
    def __get__(self, instance: object, owner: type) -> T: ...
    def __get__(self, instance: object | None, owner: type) -> Any:
        if instance is None:
            return self
        values = instance.__dict__  # What is in here is found without coming by again.

        def load() -> T:
            if self._name not in values:
                values[self._name] = self._load(instance)
            value: T = values[self._name]
            return value

        return self._loads.share(id(instance), load)


@dataclass(slots=True)
class _Kept(Generic[T]):
    """A value, and when it was last asked for."""

    value: T
    used_at: int = field(default_factory=_clock.__next__)


class Shelf(Generic[T]):
    """The values of a function of one key, so many of them as were used last; each is loaded once."""

    def __init__(self, load: Callable[[str], T], most: int) -> None:
        self._load, self._most = load, most
        self._kept: dict[str, _Kept[T]] = {}
        self._loads: Loads[T] = Loads()

    def __call__(self, key: str) -> T:
        """Return the value of a key. Raises what loading it does; then nothing is kept."""
        if (kept := self._kept.get(key)) is None:
            return self._loads.share(key, lambda: self._loaded(key))
        kept.used_at = next(_clock)
        return kept.value

    def cache_clear(self) -> None:
        """Forget all values, as `functools.lru_cache` does."""
        self._kept.clear()

    def _loaded(self, key: str) -> T:
        if (kept := self._kept.get(key)) is None:
            kept = self._kept[key] = _Kept(self._load(key))
            while len(self._kept) > self._most:
                oldest, _ = min(list(self._kept.items()), key=lambda item: item[1].used_at)
                self._kept.pop(oldest, None)
        return kept.value


def shelf(most: int) -> Callable[[Callable[[str], T]], Shelf[T]]:
    """Have a function load each of its keys once, and keep so many values."""
    return lambda load: Shelf(load, most)
