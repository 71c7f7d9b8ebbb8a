from __future__ import annotations

import pytest

from mediasearch.features import language

ENGLISH = frozenset({"en"})


@pytest.mark.parametrize(
    ("text", "languages", "expected"),
    [
        ("a red car", ENGLISH, None),
        ("café naïve", ENGLISH, None),
        ("一只猫", ENGLISH, "zh"),
        ("猫 cat", ENGLISH, "zh"),
        ("собака", ENGLISH, "be"),
        ("ねこ", frozenset({"en", "zh"}), "ja"),
        ("一只猫", frozenset({"en", "zh"}), None),
        ("一只猫", None, None),
        ("100 % 🚗", ENGLISH, None),
        ("", ENGLISH, None),
    ],
)
def test_unread(text: str, languages: frozenset[str] | None, expected: str | None) -> None:
    assert language.unread(text, languages) == expected


def test_readable__keeps_the_lines_that_can_be_read() -> None:
    assert language.readable("A cat.\n一只猫。\n\nOn a mat.", ENGLISH) == "A cat.\nOn a mat."


def test_name__falls_back_to_the_code() -> None:
    assert (language.name("zh"), language.name("xx")) == ("Chinese", "xx")
