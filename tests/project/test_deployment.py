"""docs/deployment.md says what is so: every variable is in it, and its examples are accepted."""

from __future__ import annotations

import re
from configparser import ConfigParser
from pathlib import Path

import pytest
from celery.bin.celery import celery as celery_command

from project import settings

ROOT = Path(__file__).resolve().parent.parent.parent
PAGE = (ROOT / "docs" / "deployment.md").read_text()
EXAMPLES = re.findall(r"```ini\n(.*?)```", PAGE, flags=re.DOTALL)


def test_variables__all_are_documented() -> None:
    code = "".join((ROOT / "project" / name).read_text() for name in ("settings.py", "web.py"))
    read = set(re.findall(r'environ\.get\(\s*"(\w+)"', code))
    documented = set(re.findall(r"`([A-Z_]+)`", PAGE.partition("## Environment variables")[2].partition("\n## ")[0]))

    assert documented == read


@pytest.mark.parametrize("example", EXAMPLES)
def test_examples__celery_accepts_them(example: str) -> None:
    parser = ConfigParser(interpolation=None, comment_prefixes=("#",), strict=True)
    parser.optionxform = str  # type: ignore[assignment]
    parser.read_string(example)
    commands = [
        value for section in parser.values() for key, value in section.items() if key in ("command", "ExecStart")
    ]
    celery = [command.split() for command in commands if "/celery " in command]

    assert celery
    for _, app, project, subcommand, *options in celery:
        assert (app, project) == ("--app", "project")
        made = celery_command.commands[subcommand].make_context(subcommand, options, resilient_parsing=True)
        assert made.params["concurrency"] == 1


def test_settings__no_picture_has_an_address_of_its_own() -> None:
    """The demo's and the containers': no web server sends files there but our own pages."""
    entry = settings.STORAGES[settings.MEDIASEARCH["STORAGE"]]
    assert entry["BACKEND"] == "mediasearch.storages.PrivateStorage"
    assert entry["OPTIONS"]["location"] == settings.DATA / "media"
