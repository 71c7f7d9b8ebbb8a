"""Odd and malicious files as pictures to search with, through the page and the admin, where the corpus is at hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from mediasearch.models import Generation
from tests.conftest import MakeAsset
from tests.features.test_hostile import FILES

pytestmark = pytest.mark.skipif(not FILES, reason="the corpus of hostile files is not at hand")
LIST = "/admin/mediasearch/asset/"


@pytest.fixture
def library(active_generation: Generation, make_asset: MakeAsset, index_all: Callable[[], None]) -> None:
    make_asset("red", title="Fire engine")
    index_all()


def upload(path: Path) -> dict[str, SimpleUploadedFile]:
    return {"upload": SimpleUploadedFile(path.name, path.read_bytes())}


def test_page__finds_or_refuses_with_a_sentence(client: Client, library: None) -> None:
    outcomes: dict[str, str] = {}
    for path in FILES:
        page = client.post("/", upload(path))
        assert page.status_code == 200, path.name
        outcome, refused = page.context["outcome"], page.context["form"].errors.get("upload", [])
        found = "found." if outcome and outcome.picture and outcome.total == 1 and not outcome.notices else ""
        outcomes[path.name] = found or " ".join(refused)
    assert all(outcome.endswith(".") for outcome in outcomes.values()), outcomes
    assert {"found."} < set(outcomes.values())


def test_admin__ranks_or_refuses_with_a_sentence(admin_client: Client, library: None) -> None:
    refused, last = 0, ""
    for path in FILES:
        answer = admin_client.post(f"{LIST}with-picture/", upload(path))
        assert answer.status_code == 302, path.name
        refused += "picture=" not in answer.headers["Location"]
        last = answer.headers["Location"] if "picture=" in answer.headers["Location"] else last
    page = admin_client.get(last)
    assert [asset.title for asset in page.context["cl"].result_list] == ["Fire engine"]
    told = [str(message) for message in page.context["messages"]]
    assert len(told) == refused
    assert all(sentence.endswith(".") for sentence in told), told
