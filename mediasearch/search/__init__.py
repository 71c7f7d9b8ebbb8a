"""The read path: question, scope, signals, fusion, hits. It never imports the write path."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any


class _Callable(ModuleType):
    """`mediasearch.search` is this package and the function at once: importing any module below it binds the name."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        from mediasearch.search.engine import search

        return search(*args, **kwargs)


sys.modules[__name__].__class__ = _Callable
