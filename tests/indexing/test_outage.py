from __future__ import annotations

import pytest
from django.db import DataError, InterfaceError, InternalError, OperationalError
from psycopg import errors

from mediasearch.indexing import outage


def raised(kind: type[Exception], cause: type[Exception]) -> Exception:
    """As Django raises what psycopg did."""
    try:
        raise kind("It failed.") from cause("It failed.")
    except kind as error:
        return error


@pytest.mark.parametrize(
    ("kind", "cause", "passes", "is_full"),
    [
        (OperationalError, errors.AdminShutdown, True, False),
        (OperationalError, errors.CrashShutdown, True, False),
        (OperationalError, errors.CannotConnectNow, True, False),
        (OperationalError, errors.DeadlockDetected, True, False),
        (OperationalError, errors.DiskFull, True, True),
        (OperationalError, errors.OutOfMemory, True, True),
        (OperationalError, errors.TooManyConnections, True, True),
        (OperationalError, errors.ProgramLimitExceeded, False, False),
        (OperationalError, errors.OperationalError, True, False),
        (InterfaceError, errors.InterfaceError, True, False),
        (InternalError, errors.ReadOnlySqlTransaction, True, False),
        (InternalError, errors.InternalError_, False, False),
        (DataError, errors.StringDataRightTruncation, False, False),
    ],
)
def test_outage__by_what_postgresql_says(
    kind: type[Exception], cause: type[Exception], passes: bool, is_full: bool
) -> None:
    error = raised(kind, cause)
    assert (outage.passes(error), outage.is_full(error)) == (passes, is_full)


def test_outage__of_an_error_without_a_cause() -> None:
    assert outage.passes(OperationalError("The connection is closed."))
    assert not outage.passes(ValueError("No."))
