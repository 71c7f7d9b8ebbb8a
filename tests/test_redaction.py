"""Errors without names."""

from __future__ import annotations

import pytest

from mediasearch.models import Asset
from mediasearch.redaction import redacted


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("This image is damaged or cut short.", "This image is damaged or cut short."),
        (
            "No such file: 'a b.png'.",
            "No such file: ….",
        ),
        ('No such file: "Eve\'s.png".', "No such file: …."),
        ("“红色.png” was refused: too large.", "… was refused: too large."),
        ("Denied: s3://bucket/secret and C:\\secret", "Denied: … and …"),
        ("There is no secret.jpeg here", "There is no … here"),
        ("It took 20.5 s of 45.0 s.", "It took 20.5 s of 45.0 s."),
        ("", ""),
    ],
)
def test_redacted__what_looks_like_a_name(sentence: str, expected: str) -> None:
    assert redacted(sentence) == expected


def test_redacted__the_names_of_an_asset() -> None:
    asset = Asset(title="Eve's secret", file="mediasearch/2026/12/divorce.png", file_version="papers of eve")
    assert redacted("No divorce, papers of eve or Eve's secret in 'Eve's secret'.", asset) == "No …, … or … in …."
    assert redacted("A fault.", Asset(title="a", file="")) == "A fault."
