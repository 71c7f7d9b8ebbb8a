from __future__ import annotations

import io
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from mediasearch.checks import database
from mediasearch.indexing import turns
from mediasearch.models import Generation
from tests.indexing.test_calibration import fill

pytestmark = pytest.mark.django_db


def run(*arguments: Any) -> tuple[str, str]:
    out, err = io.StringIO(), io.StringIO()
    call_command("mediasearch_calibrate", *arguments, stdout=out, stderr=err, no_color=True)
    return out.getvalue(), err.getvalue()


def test_command__says_what_it_measured(active_generation: Generation) -> None:
    fill(active_generation, 50)
    said, complained = run()
    assert f"Generation {active_generation.pk}: recall@10 100.0% at ef_search 40, 50 vectors." in said
    assert "Unrelated pictures score" in said
    assert complained == ""
    assert "changed little" in run("--if-due")[0]


def test_command__there_is_nothing_to_measure(active_generation: Generation) -> None:
    assert "no vectors yet" in run()[0]


def test_command__another_process_is_at_it(active_generation: Generation) -> None:
    fill(active_generation, 20)
    with turns.taken(active_generation):
        with pytest.raises(CommandError, match=r"Another process is calibrating .* sign of life came 0 s ago\. Run"):
            run()
        said, complained = run("--if-due")
        assert "Another process is calibrating" in said
        assert complained == ""
    assert Generation.objects.get().calibration == {}
    assert "recall@10" in run()[0]


def test_command__an_unknown_generation(active_generation: Generation) -> None:
    with pytest.raises(CommandError, match="no such generation"):
        run("--generation", "999")


def test_command__before_any_generation(db: None) -> None:
    with pytest.raises(CommandError, match="none yet"):
        run()


def test_check__recall_below_the_target(active_generation: Generation) -> None:
    assert database.check_recall(None, ["default"]) == []
    Generation.objects.update(calibration={"recall": 0.5})
    (warning,) = database.check_recall(None, ["default"])
    assert warning.id == "mediasearch.W010"
    assert "finds 50.0%" in warning.msg
    Generation.objects.update(calibration={"recall": 0.99})
    assert database.check_recall(None, ["default"]) == []
    assert database.check_recall(None, []) == []
