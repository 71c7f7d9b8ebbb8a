from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.core.management.base import CommandError

from mediasearch.models import Asset, Generation
from tests.conftest import MakeAsset, picture

pytestmark = pytest.mark.django_db


@pytest.fixture
def library(active_generation: Generation, make_asset: MakeAsset, index_all: Callable[[], None]) -> dict[str, Asset]:
    assets = {colour: make_asset(colour, title=f"a {colour} one", tags=[colour]) for colour in ("red", "green", "blue")}
    index_all()
    Asset.objects.filter(pk=assets["blue"].pk).update(is_public=False)
    return assets


def run(*arguments: Any) -> str:
    out = io.StringIO()
    call_command("mediasearch_search", *map(str, arguments), stdout=out, no_color=True)
    return out.getvalue()


def ids(*arguments: Any) -> list[int]:
    return [hit["id"] for hit in json.loads(run(*arguments, "--json"))["hits"]]


def test_command__prints_hits_with_their_reasons(library: dict[str, Asset]) -> None:
    lines = run("red", "one").splitlines()
    assert lines[0].startswith("   1. ")
    assert "a red one" in lines[0]
    assert f"#{library['red'].pk}" in lines[0]
    assert any(line.split()[:1] == ["image"] and "rank 1" in line and "%" in line for line in lines[1:5])
    assert any("words      red (exact), one (exact)" in line for line in lines[1:5])
    assert lines[-1].startswith("3 of 3 by exact (encode ")


def test_command__composes(library: dict[str, Asset], tmp_path: Path) -> None:
    path = tmp_path / "blue.png"
    path.write_bytes(picture("blue"))
    assert ids("--image", path)[0] == library["blue"].pk
    assert library["green"].pk not in ids("--like", library["green"].pk)
    assert ids("red green", "--without", "green", "--weight", "text=0")[0] == library["red"].pk


def test_command__filters_sorts_and_cuts(library: dict[str, Asset]) -> None:
    assert ids("red", "--tag", "green") == [library["green"].pk]
    assert ids("red", "--sort", "title", "--limit", 1, "--offset", 1) == [library["green"].pk]
    assert ids("red", "--after", "2020-01-01", "--before", "2020-01-02") == []
    assert "Nothing was found." in run("red", "--category", "cars")


def test_command__searches_as_somebody(library: dict[str, Asset]) -> None:
    User.objects.create_user("visitor")
    assert library["blue"].pk in ids("blue")
    assert library["blue"].pk not in ids("blue", "--user", "visitor")


def test_command__counts(library: dict[str, Asset]) -> None:
    assert "tags: blue 1, green 1, red 1" in run("red", "--facets")
    assert json.loads(run("red", "--facets", "--json"))["facets"]["source"][0]["number"] == 3


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["--like", "999"], "no asset 999"),
        (["--user", "nobody"], "no user nobody"),
        (["--image", "/nowhere.png"], "can't be read"),
        (["red", "--after", "yesterday"], "not a day"),
        (["red", "--weight", "text"], "no weight"),
        (["red", "--weight", "colour=1"], "knows the signals"),
        (["red", "--limit", "0"], "from 1 to"),
    ],
)
def test_command__says_what_is_wrong(library: dict[str, Asset], arguments: list[str], error: str) -> None:
    with pytest.raises(CommandError, match=error):
        run(*arguments)
