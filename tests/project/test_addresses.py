"""Addresses of services."""

from __future__ import annotations

import pytest

from project.addresses import other_number


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://localhost:6379/0", "redis://localhost:6379/1"),
        ("redis://localhost:6379", "redis://localhost:6379/1"),
        ("redis://localhost:6379/", "redis://localhost:6379/1"),
        ("rediss://:se%2Fcret@host/3?ssl_cert_reqs=required", "rediss://:se%2Fcret@host/4?ssl_cert_reqs=required"),
    ],
)
def test_other_number__is_the_next(url: str, expected: str) -> None:
    assert other_number(url) == expected
