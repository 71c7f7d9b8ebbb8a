"""What is costly is loaded once, whoever asks at the same moment, and holds nobody up who wants something else."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from mediasearch.features import loading

SECONDS = 5.0


class Engine:
    """Takes a moment to load, which is counted."""

    def __init__(self) -> None:
        self.loads: list[str] = []
        self.before_load: Callable[[], Any] = lambda: time.sleep(0.1)

    @loading.loaded_property
    def model(self) -> object:
        """What takes long."""
        self.loads.append(threading.current_thread().name)
        self.before_load()
        return object()


def side_by_side(*calls: Callable[[], Any]) -> Sequence[Any]:
    """Return what calls return that begin at the same moment, or the exceptions that they raise."""
    start = threading.Barrier(len(calls))

    def carry_out(call: Callable[[], Any]) -> Any:
        start.wait(SECONDS)
        try:
            return call()
        except Exception as error:
            return error

    with ThreadPoolExecutor(len(calls)) as threads:
        return list(threads.map(carry_out, calls))


def test_loaded_property__is_loaded_once_for_all_threads() -> None:
    engine = Engine()
    models = side_by_side(*[lambda: engine.model] * 4)
    assert len(engine.loads) == 1
    assert {id(model) for model in models} == {id(engine.model)}
    assert Engine.model.__doc__ == "What takes long."


def test_loaded_property__instances_load_at_the_same_time() -> None:
    both = threading.Barrier(2)
    one, other = Engine(), Engine()
    one.before_load = other.before_load = lambda: both.wait(SECONDS)
    assert len({id(model) for model in side_by_side(lambda: one.model, lambda: other.model)}) == 2
    assert not both.broken


def test_loaded_property__a_failure_is_told_to_all_who_wait_and_is_not_for_ever() -> None:
    engine = Engine()

    def fail() -> None:
        time.sleep(0.1)
        raise OSError("no weights")

    engine.before_load = fail
    assert [str(answer) for answer in side_by_side(*[lambda: engine.model] * 4)] == ["no weights"] * 4
    assert len(engine.loads) == 1
    engine.before_load = int
    assert engine.model is engine.model


def test_loaded_property__a_thread_that_is_ended_ends_no_other() -> None:
    engine, loads = Engine(), threading.Semaphore(0)

    def end_the_first() -> None:
        loads.release()
        time.sleep(0.1)
        if len(engine.loads) == 1:
            raise SystemExit

    engine.before_load = end_the_first

    def first_of_all() -> None:
        with pytest.raises(SystemExit):
            _ = engine.model

    first = threading.Thread(target=first_of_all)
    first.start()
    assert loads.acquire(timeout=SECONDS)
    assert engine.model is not None
    first.join(SECONDS)
    assert len(engine.loads) == 2


def test_loaded_property__a_forked_process_does_not_wait_for_a_thread_that_it_has_not() -> None:
    code = """
import os, sys, threading, time
from mediasearch.features.loading import loaded_property
began, parent = threading.Event(), os.getpid()
class Engine:
    @loaded_property
    def model(self):
        began.set()
        time.sleep(30 if os.getpid() == parent else 0)
        return 1
engine = Engine()
threading.Thread(target=lambda: engine.model, daemon=True).start()
began.wait()
child = os.fork()
if not child:
    os._exit(engine.model)
os._exit(0 if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1 else 2)
"""
    assert subprocess.run([sys.executable, "-W", "ignore", "-c", code], timeout=20).returncode == 0


def test_shelf__a_key_is_loaded_once_for_all_threads() -> None:
    loads: list[str] = []

    @loading.shelf(4)
    def load(key: str) -> object:
        loads.append(key)
        time.sleep(0.1)
        return object()

    made = side_by_side(*[lambda: load("a")] * 4)
    assert loads == ["a"]
    assert {id(one) for one in made} == {id(load("a"))}


def test_shelf__a_load_holds_up_no_other_key() -> None:
    began, may_end = threading.Event(), threading.Event()

    @loading.shelf(4)
    def load(key: str) -> str:
        if key == "slow":
            began.set()
            assert may_end.wait(SECONDS)
        return key

    load("kept")
    with ThreadPoolExecutor(1) as thread:
        slow = thread.submit(load, "slow")
        assert began.wait(SECONDS)
        assert (load("kept"), load("new")) == ("kept", "new")
        assert not slow.done()
        may_end.set()
        assert slow.result(SECONDS) == "slow"


def test_shelf__keeps_those_that_were_used_last() -> None:
    loads: list[str] = []

    @loading.shelf(2)
    def load(key: str) -> str:
        loads.append(key)
        return key

    for key in ("a", "b", "a", "c", "a", "b"):
        load(key)
    assert loads == ["a", "b", "c", "b"]
    load.cache_clear()
    load("b")
    assert loads == ["a", "b", "c", "b", "b"]


def test_shelf__a_failure_is_not_kept() -> None:
    answers: list[Any] = [OSError("no weights"), "well"]

    @loading.shelf(2)
    def load(key: str) -> str:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return str(answer)

    with pytest.raises(OSError, match="no weights"):
        load("a")
    assert load("a") == "well"
