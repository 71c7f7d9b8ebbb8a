from __future__ import annotations

import io
import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db.models.functions import Now

from mediasearch.exceptions import EncoderUnavailable, NotAnImage
from mediasearch.indexing import ledger
from mediasearch.management.commands import mediasearch_status
from mediasearch.models import Generation, Job, Stage
from tests.conftest import MakeAsset
from tests.live import ROOT, environment


def said(**options: Any) -> str:
    stream = io.StringIO()
    call_command("mediasearch_status", stdout=stream, **options)
    return stream.getvalue()


def row(page: str, stage: str) -> list[str]:
    return next(line for line in page.splitlines() if line.startswith(f"{stage} ")).split()


@pytest.mark.django_db
def test_status__a_table_for_a_terminal_of_80_columns(
    active_generation: Generation, make_asset: MakeAsset, index_all: Callable[[], None]
) -> None:
    make_asset("red")
    make_asset(b"a shopping list", name="list.png")
    index_all()
    make_asset("blue")
    Job.objects.filter(state="pending").update(due_at=Now() - timedelta(hours=2))
    ledger.pause(Stage.READ, EncoderUnavailable("No reader can run here, " * 10))
    page = said()
    assert max(map(len, page.splitlines())) <= 80
    assert page.startswith("3 images ")
    assert row(page, "stage") == ["stage", "waiting", "due", "running", "failed", "done", "per", "s", "left", "oldest"]
    assert row(page, "inspect")[1:6] == ["1", "1", "0", "1", "1"]
    assert row(page, "inspect")[-2:] == ["2", "h"]
    assert row(page, "read")[-3] == "paused"
    assert f"Generation {active_generation.pk} (active) fake/16: 1 image vectors, 33.3 % of images, 1 failed;" in page
    assert "recall not measured" in " ".join(page.split())
    assert "ALARM (failed): Jobs have failed for good: 1 of stage inspect" in page
    assert "No reader can run here" in page


@pytest.mark.django_db
def test_status__nothing_to_tell() -> None:
    page = said()
    assert page.startswith("0 images ")
    assert row(page, "embed_image") == ["embed_image", "0", "0", "0", "0", "0", "0.00", "-", "-"]
    assert page.rstrip().endswith("No alarm.")


@pytest.mark.django_db
def test_status__recall_with_its_date(active_generation: Generation) -> None:
    active_generation.calibration = {"recall": 0.9876, "recall_at": 10, "measured_at": "2026-03-01"}
    active_generation.save()
    assert "recall 0.9876@10, measured 2026-03-01." in " ".join(said().split())


@pytest.mark.django_db
def test_status__one_json_object(active_generation: Generation, make_asset: MakeAsset) -> None:
    make_asset()
    (line,) = said(json=True).splitlines()
    told = json.loads(line)
    assert {s["stage"]: s["due"] for s in told["stages"]} == {
        "inspect": 1, "read": 1, "embed_image": 1, "embed_caption": 0,
    }  # fmt: skip
    assert told["generations"][0]["coverage"] == 0


@pytest.mark.django_db
def test_fail_on_alarm__with_any_or_with_those_named(active_generation: Generation, make_asset: MakeAsset) -> None:
    make_asset()
    said(fail_on_alarm=[])
    ledger.settle(ledger.claim(Stage.READ, 1), [NotAnImage()], lambda done: None)
    said()
    said(fail_on_alarm=["silent", "paused"])
    for kinds in ([], ["failed"]):
        with pytest.raises(SystemExit) as left:
            said(fail_on_alarm=kinds)
        assert left.value.code == 1


@pytest.mark.django_db
def test_fail_on_alarm__knows_its_kinds() -> None:
    with pytest.raises(CommandError, match="tired"):
        call_command("mediasearch_status", "--fail-on-alarm", "tired")


@pytest.mark.django_db
def test_watch__needs_time() -> None:
    with pytest.raises(CommandError, match="above zero"):
        said(watch=0.0)


@pytest.mark.django_db
def test_watch__prints_a_line_of_json_each_time_and_ends_at_an_alarm(
    make_asset: MakeAsset, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 2:
            make_asset()

    monkeypatch.setattr(mediasearch_status.time, "sleep", sleep)
    stream = io.StringIO()
    with pytest.raises(SystemExit):
        call_command("mediasearch_status", watch=0.5, json=True, fail_on_alarm=[], stdout=stream)
    assert [json.loads(line)["assets"] for line in stream.getvalue().splitlines()] == [0, 0, 1]
    assert slept == [0.5, 0.5]


def on_a_terminal(*arguments: str, data: Path) -> tuple[subprocess.Popen[bytes], int]:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "manage.py", "mediasearch_status", *arguments],
        cwd=ROOT, env=environment(data), stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    return process, ours


@pytest.mark.django_db(transaction=True)
def test_watch__redraws_in_place_until_ctrl_c(tmp_path: Path) -> None:
    process, terminal = on_a_terminal("--watch", "0.1", data=tmp_path)
    shown = b""
    try:
        while shown.count(b"\x1b[H\x1b[J") < 3:
            shown += os.read(terminal, 65_536)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
        os.close(terminal)
    assert b"No alarm." in shown
    assert b"Traceback" not in shown


def test_status__says_so_where_the_database_is_away(tmp_path: Path) -> None:
    away = environment(tmp_path) | {"DATABASE_URL": f"postgresql://nobody@/nothing?host={tmp_path}"}
    command = [sys.executable, "manage.py", "mediasearch_status", "--fail-on-alarm", "silent"]
    result = subprocess.run(command, cwd=ROOT, env=away, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert result.stderr.startswith("CommandError: The database could not be asked: ")
