from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from mediasearch import exceptions
from mediasearch.features import child, landlock, warden
from mediasearch.features.exposure import EXPOSURES, THREADS
from mediasearch.features.images import FORMATS
from mediasearch.features.sandbox import Budget, Sandbox
from tests.conftest import picture
from tests.live import until

OPTIONS: dict[str, Any] = {
    "max_bytes": 10_000_000,
    "max_pixels": 50_000_000,
    "formats": list(FORMATS),
    "thumbnail_size": 32,
    "shortest_side": 64,
    "width": 64,
    "height": 48,
    "backend": "mediasearch.features.fake.FakeReader",
    "backend_options": {"text": "NO ENTRY"},
}
WHITE = b"\xff" * 3 * 64 * 48
"""Pixels for a reader, of the size that OPTIONS name."""
SLEEPER = {"backend": "tests.features.nasty.Sleeper", "backend_options": {}}
KILLER = {"backend": "tests.features.nasty.Killer", "backend_options": {}}
GLUTTON = {"backend": "tests.features.nasty.Glutton", "backend_options": {}}
DESERTER = {"backend": "tests.features.nasty.Deserter", "backend_options": {}}
LITTERER = {"backend": "tests.features.nasty.Litterer", "backend_options": {}}
WRITER = {"backend": "tests.features.nasty.Writer", "backend_options": {}}
OWNER = f"""
from mediasearch.features.sandbox import Budget, Sandbox
sandbox = Sandbox(Budget(seconds=60))
sandbox.call("read", {WHITE!r}, {OPTIONS!r})
print(sandbox._process.pid, sandbox._folder, flush=True)
sandbox.call("read", {WHITE!r}, {OPTIONS | SLEEPER!r})
"""
"""A process that is busy with a reader that hangs."""


def running(command: str) -> list[psutil.Process]:
    """The processes that run a command on behalf of these tests, zombies aside."""
    found = psutil.process_iter(["cmdline", "cwd"])
    return [one for one in found if " ".join(one.info["cmdline"] or []) == command and one.info["cwd"] == os.getcwd()]


confines = pytest.mark.skipif(landlock.version() < 6, reason="this system can't confine a child")


def opening_half(sandbox: Sandbox) -> psutil.Process:
    """The process of a child that opens files, beside its warden."""
    assert sandbox._process
    (process,) = psutil.Process(sandbox._process.pid).children()
    return process


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
    found, _ = sandbox.call("read", WHITE, OPTIONS)
    assert found["text"] == "NO ENTRY"
    assert [word["text"] for word in found["words"]] == ["NO", "ENTRY"]


def test_call__a_refusal_arrives_as_what_it_is(sandbox: Sandbox) -> None:
    with pytest.raises(exceptions.NotAnImage, match="not an image"):
        sandbox.call("verify", b"hello", OPTIONS)
    assert sandbox.call("verify", picture(), OPTIONS) == ({}, b"")


def test_call__a_child_that_dies_is_replaced(sandbox: Sandbox) -> None:
    with pytest.raises(exceptions.ReaderFailed, match=r"died \(SIGSEGV\)"):
        sandbox.call("read", WHITE, OPTIONS | KILLER)
    assert sandbox.call("verify", picture(), OPTIONS) == ({}, b"")


def test_call__a_child_that_hangs_is_killed_with_what_it_started() -> None:
    sandbox = Sandbox(Budget(seconds=2))
    started = time.monotonic()
    with pytest.raises(exceptions.ReaderTimeout, match="more than 2 seconds"):
        sandbox.call("read", WHITE, OPTIONS | SLEEPER)
    assert time.monotonic() - started < 4
    until(lambda: not running("sleep 600"), "the process is left", 1.0)


def test_call__a_reader_that_leaves_processes_costs_its_child(sandbox: Sandbox) -> None:
    assert sandbox.call("read", WHITE, OPTIONS | DESERTER)[0] == {"text": "", "words": []}
    until(lambda: not running("sleep 601"), "the process is left", 2.0)
    assert sandbox.call("read", WHITE, OPTIONS)[0]["text"] == "NO ENTRY"


def test_call__what_a_killed_child_wrote_goes_with_it() -> None:
    sandbox = Sandbox(Budget(seconds=2))
    sandbox.call("read", WHITE, OPTIONS)
    folder = Path(sandbox._folder)
    assert folder.is_dir()
    with pytest.raises(exceptions.ReaderTimeout):
        sandbox.call("read", WHITE, OPTIONS | LITTERER)
    assert not folder.exists()


def test_child__ends_with_a_killed_owner_and_takes_all_along() -> None:
    owner = subprocess.Popen([sys.executable, "-c", OWNER], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    with owner, owner.stdout:
        pid, folder = owner.stdout.readline().split()
        until(lambda: running("sleep 600"), "the reader does not hang")
        owner.kill()
    until(lambda: not running("sleep 600") and not psutil.pid_exists(int(pid)), "processes are left", 5.0)
    assert not Path(folder).exists()


def test_child__ends_with_its_input_and_removes_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "own"
    folder.mkdir()
    command = [sys.executable, "-m", warden.__name__, child.__name__, "560000000", "20", str(os.getpid()), str(folder)]
    ended = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=20)
    assert (ended.returncode, ended.stdout, folder.exists()) == (0, b"", False)


@pytest.mark.parametrize(
    "frame",
    [
        child.LENGTHS.pack(2, 1 << 40) + b"{}",
        child.LENGTHS.pack((1 << 32) - 1, 0) + b"{}",
        child.LENGTHS.pack(4, 0) + b"nope",
        child.LENGTHS.pack(2, 0) + b"[]",
        child.LENGTHS.pack(2, 0) + b"{}",
        child.LENGTHS.pack(100_000, 0) + b"[" * 100_000,
    ],
    ids=["huge", "huge header", "no JSON", "a list", "empty", "deep"],
)
def test_call__a_child_that_lies_is_a_child_that_died(sandbox: Sandbox, frame: bytes) -> None:
    liar = {"backend": "tests.features.nasty.Liar", "backend_options": {"frame": frame.hex()}}
    with pytest.raises(exceptions.ReaderFailed, match="died"):
        sandbox.call("read", WHITE, OPTIONS | liar)
    assert sandbox.call("read", WHITE, OPTIONS)[0]["text"] == "NO ENTRY"


@pytest.mark.parametrize("exposed", [7, None, [[]], ["no such"], {"files": 1}, "files"])
def test_call__a_child_exposes_nothing_that_is_not_known(sandbox: Sandbox, exposed: object) -> None:
    header = json.dumps({"text": "", "words": [], child.LEAVES: False, child.EXPOSED: exposed}).encode()
    frame = child.LENGTHS.pack(len(header), 0) + header
    liar = {"backend": "tests.features.nasty.Liar", "backend_options": {"frame": frame.hex()}}
    sandbox.call("read", WHITE, OPTIONS | liar)
    assert sandbox.exposed == ()


@pytest.mark.parametrize("name", ["inspect", "annotations", "no such", 7, None])
def test_call__a_child_names_no_errors_but_ours(sandbox: Sandbox, name: object) -> None:
    header = json.dumps({"error": name, "message": "x", child.LEAVES: False, child.EXPOSED: []}).encode()
    frame = child.LENGTHS.pack(len(header), 0) + header
    liar = {"backend": "tests.features.nasty.Liar", "backend_options": {"frame": frame.hex()}}
    with pytest.raises(exceptions.DecoderCrashed, match="x"):
        sandbox.call("read", WHITE, OPTIONS | liar)


def test_call__another_reader_gets_another_child(sandbox: Sandbox) -> None:
    pids = []
    for options in (OPTIONS, OPTIONS, OPTIONS | {"backend_options": {"text": "EXIT"}}):
        sandbox.call("read", WHITE, options)
        pids.append(opening_half(sandbox).pid)
    sandbox.call("verify", picture(), OPTIONS)
    pids.append(opening_half(sandbox).pid)
    assert pids[0] == pids[1]
    assert len(set(pids)) == 3


def test_call__a_reader_has_what_it_names(sandbox: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "model").write_text("MODEL")
    options = {"path": str(tmp_path / "model"), "honest": True}
    snoop = {"backend": "tests.features.nasty.Snoop", "backend_options": options}
    assert sandbox.call("read", WHITE, OPTIONS | snoop)[0]["text"] == "MODEL"


@confines
def test_call__a_reader_that_names_nothing_is_told_to(sandbox: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "model").write_text("MODEL")
    options = {"path": str(tmp_path / "model"), "honest": False}
    snoop = {"backend": "tests.features.nasty.Snoop", "backend_options": options}
    with pytest.raises(exceptions.ReaderUnavailable, match=r"Permission denied.*access\(\)"):
        sandbox.call("read", WHITE, OPTIONS | snoop)


@confines
def test_child__is_exposed_to_nothing(sandbox: Sandbox) -> None:
    sandbox.call("idle", b"", {})
    assert sandbox.exposed == ()
    sandbox.call("idle", b"", OPTIONS | SLEEPER)
    assert sandbox.exposed == ()


@confines
def test_child__tells_of_threads_that_were_there_before(sandbox: Sandbox) -> None:
    sandbox.call("read", WHITE, OPTIONS | {"backend": "tests.features.nasty.Eager", "backend_options": {}})
    assert sandbox.exposed == (THREADS,)


def test_child__where_a_container_forbids_it_files_are_opened_all_the_same() -> None:
    code = f"""
import logging
logging.basicConfig(format="%(message)s")
from mediasearch.features.sandbox import Budget, Sandbox
sandbox = Sandbox(Budget(seconds=30))
print(sandbox.call("verify", {picture()!r}, {OPTIONS!r}))
print(sandbox.call("read", {WHITE!r}, {OPTIONS!r})[0]["text"])
print(*sandbox.exposed)
sandbox.close()
"""
    command = [sys.executable, "-m", "tests.features.blocked", code]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120)
    if ended.stderr.strip() == "no seccomp":
        pytest.skip("this kernel has no seccomp filters, or forbids them")
    opened, reading, exposed = ended.stdout.splitlines()
    assert (opened, reading) == ("({}, b'')", "NO ENTRY")
    # Root has dropped what it takes to see another's memory; and there are no threads.
    assert EXPOSURES.keys() - set(exposed.split()) <= {"memory", THREADS}
    assert ended.stderr.count("could read the site's settings") == 1


def test_child__is_confined(sandbox: Sandbox) -> None:
    sandbox.call("verify", picture(), OPTIONS)
    limits = Path(f"/proc/{opening_half(sandbox).pid}/limits").read_text()
    soft = {line[:25].strip(): line[25:].split()[0] for line in limits.splitlines()[1:]}
    assert soft["Max data size"] == str(sandbox.budget.memory)
    assert soft["Max core file size"] == "0"
    assert int(soft["Max open files"]) <= 128
    assert int(soft["Max file size"]) <= 200_000_000
    assert int(soft["Max cpu time"]) <= 2 * sandbox.budget.seconds + 2


def test_child__keeps_no_memory_of_a_large_picture(sandbox: Sandbox) -> None:
    large = picture(size=(5_000, 4_000), mode="RGBA")
    for _ in range(3):
        sandbox.call("pixels", large, OPTIONS)
    assert opening_half(sandbox).memory_info().rss < 80_000_000


def test_child__may_not_fill_the_disk(sandbox: Sandbox) -> None:
    with pytest.raises(exceptions.ReaderFailed, match="File too large"):
        sandbox.call("read", WHITE, OPTIONS | WRITER)


def test_child__processor_time_is_bounded() -> None:
    code = "from mediasearch.features import confinement\nconfinement.allow(0.1)\nwhile True: pass"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=30)
    assert ended.returncode == -signal.SIGXCPU


@pytest.mark.parametrize("backend", ["no.such.Reader", "mediasearch.features.fake.NoSuchReader"])
def test_call__a_reader_that_can_not_be_loaded_is_no_picture_s_fault(sandbox: Sandbox, backend: str) -> None:
    with pytest.raises(exceptions.ReaderUnavailable, match="can't be loaded"):
        sandbox.call("read", WHITE, OPTIONS | {"backend": backend})


def test_call__memory_is_bounded(sandbox: Sandbox) -> None:
    with pytest.raises(exceptions.ImageTooLarge, match="READ_MEMORY"):
        sandbox.call("read", WHITE, OPTIONS | GLUTTON)


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
    for process in (sandbox._process, opening_half(sandbox)):
        assert process
        assert b"hush" not in Path(f"/proc/{process.pid}/environ").read_bytes()
