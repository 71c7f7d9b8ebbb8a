from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from mediasearch.features.crew import Crew


def test_submit__in_as_many_threads_as_are_needed_and_no_more() -> None:
    crew, may_end = Crew(2, "test"), threading.Event()
    held = [crew.submit(lambda: may_end.wait(10) and threading.current_thread().name) for _ in range(6)]
    may_end.set()
    assert {future.result(10) for future in held} <= {"test-0", "test-1"}
    one = Crew(8, "again")
    assert {one.submit(lambda: threading.current_thread().name).result(10) for _ in range(3)} <= {"again-0", "again-1"}


def test_submit__what_is_cancelled_in_time_is_not_done() -> None:
    crew, may_end, done = Crew(1, "test"), threading.Event(), []
    first, second = crew.submit(lambda: may_end.wait(10)), crew.submit(lambda: done.append(1))
    assert second.cancel()
    may_end.set()
    assert first.result(10)
    crew.submit(lambda: None).result(10)
    assert not done


def test_submit__what_fails_is_told_and_ends_no_thread() -> None:
    def fail() -> None:
        raise SystemExit

    crew = Crew(1, "test")
    with pytest.raises(SystemExit):
        crew.submit(fail).result(10)
    assert crew.submit(lambda: "well").result(10) == "well"


def test_submit__the_process_ends_without_waiting() -> None:
    code = "import time; from mediasearch.features.crew import Crew; Crew(1, 'x').submit(lambda: time.sleep(60))"
    assert subprocess.run([sys.executable, "-c", code], timeout=30).returncode == 0


def test_submit__no_task_waits_for_another_while_there_may_be_more_threads() -> None:
    crew, all_of_them = Crew(8, "test"), threading.Barrier(8)
    for _ in range(3):
        together = [crew.submit(lambda: all_of_them.wait(5)) for _ in range(8)]
        assert sorted(future.result(10) for future in together) == list(range(8))
