"""How much of one file's metadata is read: ordinary files have a handful of blocks, hostile ones as many as fit."""

from __future__ import annotations

_BLOCKS = 40


class Allowance:
    """Counts the blocks of one file that are parsed; those beyond are left out unread."""

    def __init__(self) -> None:
        self._left = _BLOCKS

    def take(self) -> bool:
        """Return whether one more block may be read."""
        self._left -= 1
        return self._left >= 0
