"""`python -m benchmarks.faults.captive [--short] [--show]`: what code that took over a child can do.

Code of `attacks` runs inside real children, where a decoder would (as the opener of a HEIC) and as a text reader, and
tries to read, write, connect, start, signal, trace and stay. `--show` prints what became of each attempt.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import psutil

from benchmarks.bars import Bars, Given, experiment
from benchmarks.faults import attacks
from mediasearch.exceptions import Troublesome
from mediasearch.features import base
from mediasearch.features.sandbox import Budget, Sandbox
from project.services import start_postgres, start_valkey

ROOT = Path(__file__).resolve().parent.parent.parent
SECONDS, GONE = 15.0, 3.0
SHORT = ("read secrets", "read the memory of the site", "site's environ", "add to media", "write to tmp", "netlink",
         "reach the broker", "reach the database by its socket", "start Python", "signal the site", "trace the parent",
         "fork without end", "io_uring")  # fmt: skip
"""Those that the suite tries: one of each kind."""
DECODER = "from benchmarks.faults.attacks import register_heif_opener as register_heif_opener\n"
OWNER = """
import json, os, sys
from benchmarks.faults.captive import Door, Scene
sys.path[:0] = json.loads(sys.argv[3])
Door(sys.argv[1], 60.0).attempt("stay", json.loads(sys.argv[2]) | {"owner": os.getpid()})
"""
OPTIONS: dict[str, Any] = {"max_bytes": 10_000_000, "max_pixels": 1_000_000, "formats": ["HEIF"], "shortest_side": 100}


@dataclass(frozen=True, slots=True)
class Scene:
    """What there is to attack; all of it is there, and open to the user that this runs as."""

    site: int
    """The process that owns the child."""
    files: dict[str, str]
    database: str
    """The address of PostgreSQL's socket."""
    broker: tuple[str, int]
    port: int
    """Of a TCP and of a UDP socket that listen on the loopback address."""
    port6: int | None
    abstract: str
    datagrams: str
    loader: str


class Door:
    """A way into a child: its `opener` of files, or its `reader` of words."""

    def __init__(self, name: str, seconds: float = SECONDS) -> None:
        self.name = name
        self.sandbox = Sandbox(Budget(seconds))

    def attempt(self, attack: str, target: dict[str, Any]) -> str:
        """Return "done", or what came of the attack instead."""
        try:
            return self._decode(attack, target) if self.name == "opener" else self._read(attack, target)
        except Troublesome as error:  # The child died of it. A refusal would mean that nothing was tried.
            return f"ended: {error}"

    def _decode(self, attack: str, target: dict[str, Any]) -> str:
        file = attacks.DOOR + json.dumps({"attack": attack, "target": target}).encode()
        _, pixels = self.sandbox.call("pixels", file, OPTIONS)
        return pixels.rstrip().decode()

    def _read(self, attack: str, target: dict[str, Any]) -> str:
        backend = "benchmarks.faults.attacks.Captive"
        options = {"attack": attack, "target": target, "engine": shutil.which("tesseract") or "false"}
        picture = {"width": 1, "height": 1, "backend": backend, "backend_options": options}
        answer, _ = self.sandbox.call("read", b"abc", picture)
        return str(answer["text"])


def run(given: Given, bars: Bars) -> None:
    if not hasattr(base, "Access"):  # So that it also runs on what was before there was confinement.
        base.Access = lambda **_: None  # type: ignore[misc, assignment]
    with _scene() as (scene, paths):
        for name in ("opener", "reader"):
            target = asdict(scene)
            outcomes = {attack: _outcome(name, attack, target, scene) for attack in _chosen(given)}
            outcomes["stay"] = _stays(name, target, paths)
            if given.options.show:
                for attack, outcome in outcomes.items():
                    bars.note(f"{name}, {attack}", outcome)
            successes = [attack for attack, outcome in outcomes.items() if outcome == "done"]
            bars.note(f"{name}: attacks tried", len(outcomes))
            bars.note(f"{name}: attacks that succeeded", len(successes))
            _judge(name, successes, bars)


def _judge(name: str, successes: list[str], bars: Bars) -> None:
    from mediasearch.features import landlock

    if landlock.version() >= 4 and Path("/proc/sys/kernel/seccomp").exists():
        bars.equal(f"{name}: attacks that succeeded", successes, [])
    else:
        bars.note("this kernel can't confine", successes)


def _chosen(given: Given) -> list[str]:
    names = [name for name in attacks.ATTACKS if name != "stay"]
    return [name for name in names if not given.short or name in SHORT]


def _outcome(name: str, attack: str, target: dict[str, Any], scene: Scene) -> str:
    """Try once in a child of its own: an earlier attack may have spoilt another."""
    Path(scene.files["victim"]).write_bytes(b"a picture")
    door = Door(name)
    try:
        return door.attempt(attack, target)
    finally:
        door.sandbox.close()


def _stays(name: str, target: dict[str, Any], paths: list[str]) -> str:
    """Kill the process that owns a child which does not want to end."""
    before = set(Path(tempfile.gettempdir()).glob("mediasearch-*/stays"))
    words = [sys.executable, "-c", OWNER, name, json.dumps(target), json.dumps(paths)]
    owner = subprocess.Popen(words, cwd=ROOT, env=os.environ | {"PYTHONPATH": os.pathsep.join([*paths, *sys.path])})
    until = time.monotonic() + 60
    notes: set[Path] = set()
    while not notes and time.monotonic() < until:
        time.sleep(0.1)
        notes = set(Path(tempfile.gettempdir()).glob("mediasearch-*/stays")) - before
        notes = {note for note in notes if note.read_text()}
    if not notes:
        owner.kill()
        owner.wait()
        return "it could not start"
    pid = int(notes.pop().read_text())
    owner.kill()
    owner.wait()
    ended = _gone(pid)
    with suppress(psutil.Error):
        psutil.Process(pid).kill()
    return "ended" if ended else "done"


def _gone(pid: int) -> bool:
    until = time.monotonic() + GONE
    while time.monotonic() < until:
        with suppress(psutil.Error):
            if psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                time.sleep(0.05)
                continue
        return True
    return False


@contextmanager
def _scene() -> Iterator[tuple[Scene, list[str]]]:
    """Make a site's folder, first on the module search path as that of manage.py is, and services that answer."""
    with ExitStack() as ending:
        folder = Path(ending.enter_context(tempfile.TemporaryDirectory(prefix="captive-")))
        package = folder / "decoder" / "pillow_heif"
        package.mkdir(parents=True)
        (package / "__init__.py").write_text(DECODER)
        paths = [str(folder / "site"), str(folder / "decoder")]
        sys.path[:0] = paths
        ending.callback(sys.path.__delitem__, slice(0, 2))
        library = ROOT / "mediasearch" / "__pycache__" / "captive-victim"
        library.parent.mkdir(exist_ok=True)
        library.write_bytes(b"code")
        ending.callback(library.unlink)
        database = urlsplit(start_postgres(ROOT / ".test" / "postgres"))
        broker = urlsplit(start_valkey(folder / "valkey").url)
        stream = ending.enter_context(_listening(socket.AF_INET, ("127.0.0.1", 0)))
        port = stream.getsockname()[1]
        ending.enter_context(_bound(socket.AF_INET, ("127.0.0.1", port)))
        port6 = None
        with suppress(OSError):
            port6 = ending.enter_context(_listening(socket.AF_INET6, ("::1", 0))).getsockname()[1]
        ending.enter_context(_listening(socket.AF_UNIX, f"\0captive-{os.getpid()}"))
        ending.enter_context(_bound(socket.AF_UNIX, str(folder / "log")))
        yield (
            Scene(
                site=os.getpid(),
                files=_files(folder / "site") | {"library": str(library)},
                database=f"{parse_qs(database.query)['host'][0]}/.s.PGSQL.{database.port or 5432}",
                broker=(broker.hostname or "", broker.port or 0),
                port=port,
                port6=port6,
                abstract=f"captive-{os.getpid()}",
                datagrams=str(folder / "log"),
                loader=_loader(),
            ),
            paths,
        )


def _files(site: Path) -> dict[str, str]:
    contents = {
        "settings": ("settings.py", "SECRET_KEY = 'hush'"),
        "secrets": (".env", "DATABASE_URL=postgresql://hush"),
        "private key": (".ssh/id", "hush"),
        "picture": ("media/picture.png", "a picture"),
        "victim": ("media/victim.png", "a picture"),
    }
    for name, content in contents.values():
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_text(content)
    return {what: str(site / name) for what, (name, _) in contents.items()}


def _listening(family: int, address: Any) -> socket.socket:
    one = socket.socket(family)
    one.bind(address)
    one.listen(64)
    return one


def _bound(family: int, address: Any) -> socket.socket:
    one = socket.socket(family, socket.SOCK_DGRAM)
    one.bind(address)
    return one


def _loader() -> str:
    """Return the dynamic loader of this Python, which starts any program that may be read."""
    program = Path(sys.executable).read_bytes()[:4_096]
    start = program.find(b"/lib")
    return program[start : program.find(b"\0", start)].decode()


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--show", action="store_true")


if __name__ == "__main__":
    experiment(run, _options)
