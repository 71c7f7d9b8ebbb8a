"""Landlock as each version of its interface has it; each test gives up what it has in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mediasearch.features import landlock

needs_landlock = pytest.mark.skipif(not landlock.version(), reason="this kernel has no Landlock, or forbids it")
CODE = """
import json, os, socket, sys
from mediasearch.features import landlock
version, own, other, library = json.loads(sys.argv[1])
landlock.version = lambda: version
def tries(attempt):
    try:
        attempt()
    except OSError as error:
        return type(error).__name__
    return "done"
def connects():
    with socket.socket() as one:
        one.connect(("127.0.0.1", 9))
enforced = landlock.restrict([(own, landlock.OWN), (library, landlock.READ), ("/no/such/folder", landlock.READ)])
print(json.dumps({
    "enforced": enforced,
    "own": tries(lambda: open(f"{own}/new", "w").close()),
    "replaces": tries(lambda: os.rename(f"{own}/new", f"{own}/newer")),
    "reads": tries(lambda: open(f"{other}/secret").close()),
    "lists": tries(lambda: os.listdir(other)),
    "writes": tries(lambda: open(f"{other}/new", "w").close()),
    "library": tries(lambda: open(f"{library}/code").close()),
    "spoils": tries(lambda: open(f"{library}/code", "w").close()),
    "shortens": tries(lambda: os.truncate(f"{library}/code", 1)),
    "environ": tries(lambda: open(f"/proc/{os.getppid()}/environ").close()),
    "connects": tries(connects),
    "signals": tries(lambda: os.kill(os.getppid(), 0)),
}))
"""


def restricted(folder: Path, version: int) -> dict[str, Any]:
    """What succeeds in a process on a kernel that only knows a version."""
    for name in ("own", "other", "library"):
        (folder / name).mkdir()
    (folder / "other" / "secret").write_text("hush")
    (folder / "library" / "code").write_text("code")
    argument = json.dumps([version, *(str(folder / name) for name in ("own", "other", "library"))])
    ended = subprocess.run([sys.executable, "-c", CODE, argument], capture_output=True, text=True, check=True)
    result: dict[str, Any] = json.loads(ended.stdout)
    return result


@needs_landlock
@pytest.mark.parametrize("version", range(1, landlock.version() + 1))
def test_restrict__as_far_as_a_version_can(tmp_path: Path, version: int) -> None:
    result = restricted(tmp_path, version)
    assert result["enforced"] == version
    assert (result["own"], result["replaces"], result["library"]) == ("done", "done", "done")
    assert {result[name] for name in ("reads", "lists", "writes", "spoils", "environ")} == {"PermissionError"}
    assert result["shortens"] == ("PermissionError" if version >= 3 else "done")
    assert result["connects"] == ("PermissionError" if version >= 4 else "ConnectionRefusedError")
    assert result["signals"] == ("PermissionError" if version >= 6 else "done")


def test_restrict__nothing_where_there_is_no_landlock(tmp_path: Path) -> None:
    result = restricted(tmp_path, 0)
    assert result["enforced"] == 0
    assert (result["own"], result["reads"], result["writes"]) == ("done", "done", "done")
