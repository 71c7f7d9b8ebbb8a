"""What an error of the database means: is it away, or full, or was it asked for something wrong?"""

from __future__ import annotations

from django.db import InterfaceError, OperationalError

_LIMIT_OF_A_STATEMENT, _READ_ONLY, _OUT_OF_RESOURCES, _LOCKED = "54", "25006", "53", ("55P03", "40P01")
"""Codes of PostgreSQL's, or the classes that they begin with."""


def passes(error: Exception) -> bool:
    """Is it the database that fails, and not what it was asked for? Then waiting helps."""
    code = _code(error)
    if code.startswith(_LIMIT_OF_A_STATEMENT):  # For psycopg an OperationalError, too; it would come again for ever.
        return False
    return isinstance(error, OperationalError | InterfaceError) or code == _READ_ONLY  # A standby that was the primary.


def is_locked(error: Exception) -> bool:
    """Did another transaction hold a row for too long, or wait for one that this one held?"""
    return _code(error) in _LOCKED


def is_full(error: Exception) -> bool:
    """Does the server answer, but lacks room, memory or connections for this?"""
    return _code(error).startswith(_OUT_OF_RESOURCES)


def _code(error: Exception) -> str:
    return getattr(error.__cause__, "sqlstate", None) or ""
