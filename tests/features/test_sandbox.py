from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mediasearch import exceptions
from mediasearch.features.images import FORMATS
from mediasearch.features.sandbox import Budget, Sandbox
from tests.conftest import picture

OPTIONS: dict[str, Any] = {
    "max_bytes": 10_000_000,
    "max_pixels": 50_000_000,
    "formats": list(FORMATS),
    "thumbnail_size": 32,
    "shortest_side": 64,
    "backend": "mediasearch.features.fake.FakeReader",
    "backend_options": {"text": "NO ENTRY"},
}
SLEEPER = {"backend": "tests.features.nasty.Sleeper", "backend_options": {}}
KILLER = {"backend": "tests.features.nasty.Killer", "backend_options": {}}
GLUTTON = {"backend": "tests.features.nasty.Glutton", "backend_options": {}}


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    sandbox = Sandbox(Budget(seconds=30))
    yield sandbox
    sandbox.close()


def test_call__inspect(sandbox: Sandbox) -> None:
    found, thumbnail = sandbox.call("inspect", picture(size=(64, 48)), OPTIONS)
    assert (found["width"], found["height"], found["mime_type"]) == (64, 48, "image/png")
    assert thumbnail[:4] == b"RIFF"
    assert thumbnail[8:12] == b"WEBP"


def test_call__pixels(sandbox: Sandbox) -> None:
    found, pixels = sandbox.call("pixels", picture("red", size=(64, 48)), OPTIONS)
    assert (found["width"], found["height"]) == (64, 48)
    assert pixels == bytes((255, 0, 0)) * 64 * 48


def test_call__read(sandbox: Sandbox) -> None:
    found, _ = sandbox.call("read", picture(), OPTIONS)
    assert found["text"] == "NO ENTRY"
    assert [word["text"] for word in found["words"]] == ["NO", "ENTRY"]


def test_call__a_refusal_arrives_as_what_it_is(sandbox: Sandbox) -> None:
    with pytest.raises(exceptions.NotAnImage, match="not an image"):
        sandbox.call("verify", b"hello", OPTIONS)
    assert sandbox.call("verify", picture(), OPTIONS) == ({}, b"")


def test_call__a_child_that_dies_is_replaced(sandbox: Sandbox) -> None:
    with pytest.raises(exceptions.DecoderCrashed, match="died"):
        sandbox.call("read", picture(), OPTIONS | KILLER)
    assert sandbox.call("verify", picture(), OPTIONS) == ({}, b"")


def test_call__a_child_that_hangs_is_killed_with_what_it_started() -> None:
    sandbox = Sandbox(Budget(seconds=2))
    started = time.monotonic()
    with pytest.raises(exceptions.DecoderCrashed, match="more than 2 seconds"):
        sandbox.call("read", picture(), OPTIONS | SLEEPER)
    assert time.monotonic() - started < 4
    assert subprocess.run(["pgrep", "-f", "^sleep 600$"], capture_output=True, check=False).stdout == b""


@pytest.mark.parametrize("backend", ["no.such.Reader", "mediasearch.features.fake.NoSuchReader"])
def test_call__a_reader_that_can_not_be_loaded_is_no_picture_s_fault(sandbox: Sandbox, backend: str) -> None:
    with pytest.raises(exceptions.ReaderUnavailable, match="can't be loaded"):
        sandbox.call("read", picture(), OPTIONS | {"backend": backend})


def test_call__memory_is_bounded(sandbox: Sandbox) -> None:
    with pytest.raises(exceptions.ImageTooLarge, match="memory"):
        sandbox.call("read", picture(), OPTIONS | GLUTTON)


def test_call__a_child_is_replaced_after_its_number_of_files() -> None:
    sandbox = Sandbox(Budget(files=2))
    pids = []
    for _ in range(3):
        sandbox.call("verify", picture(), OPTIONS)
        pids.append(sandbox._process and sandbox._process.pid)
    sandbox.close()
    assert pids[0] is not None
    assert pids[1] is None
    assert pids[2] not in (None, pids[0])


def test_call__from_many_threads(sandbox: Sandbox) -> None:
    sizes = [(40 + n, 30) for n in range(12)]
    seen: list[tuple[int, int]] = []

    def ask(size: tuple[int, int]) -> None:
        found, _ = sandbox.call("pixels", picture(size=size), OPTIONS)
        seen.append((found["width"], found["height"]))

    threads = [threading.Thread(target=ask, args=[size]) for size in sizes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(seen) == sizes


def test_call__after_a_fork_the_child_is_not_shared(sandbox: Sandbox) -> None:
    sandbox.call("verify", picture(), OPTIONS)
    pid = sandbox._process and sandbox._process.pid
    code = os.fork()
    if code == 0:
        sandbox.call("verify", picture(), OPTIONS)
        own = sandbox._process and sandbox._process.pid != pid
        sandbox.close()
        os._exit(0 if own else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(code, 0)[1]) == 0
    assert sandbox.call("verify", picture(), OPTIONS) == ({}, b"")
    assert sandbox._process
    assert sandbox._process.pid == pid


def test_child__imports_neither_django_nor_torch() -> None:
    code = (
        "import sys; from mediasearch.features import child, images, metadata, hashing;"
        " print([m for m in ('django', 'torch', 'celery') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_child__knows_no_secret(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_KEY", "hush")
    sandbox.call("verify", picture(), OPTIONS)
    assert sandbox._process
    assert b"hush" not in Path(f"/proc/{sandbox._process.pid}/environ").read_bytes()
