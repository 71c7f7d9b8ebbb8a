from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from mediasearch.features import landlock, territory
from mediasearch.features.base import Access


def rights(access: Access, path: str) -> int:
    """What a child may do with a path, by its links' ends."""
    real = os.path.realpath(path)
    allowed = [
        right
        for place, right in territory.grants("/tmp/own", access)
        if real == os.path.realpath(place) or real.startswith(os.path.realpath(place) + "/")
    ]
    result = 0
    for right in allowed:
        result |= right
    return result


def test_grants__libraries_may_be_read_and_not_run() -> None:
    for path in (os.__file__, pytest.__file__, territory.__file__):
        assert rights(Access(), path) == landlock.READ, path
    assert rights(Access(), "/tmp/own/file") == landlock.OWN


def test_grants__nothing_of_a_project_on_the_search_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "settings.py").write_text("SECRET_KEY = 'hush'")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert rights(Access(), str(tmp_path / "settings.py")) == 0
    assert rights(Access(modules=["settings"]), str(tmp_path / "settings.py")) == 0
    for place in ("/", "/etc/passwd", "/proc/1/environ", sys.prefix, os.path.expanduser("~")):
        assert rights(Access(), place) == 0, place


def test_grants__a_package_outside_is_imported_and_may_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in ("outside_package/__init__.py", "outside_package/data", "beside/data"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    access = Access(modules=["outside_package", "no_such_module"])
    assert rights(access, str(tmp_path / "outside_package" / "data")) == landlock.READ
    assert rights(access, str(tmp_path / "beside" / "data")) == 0
    assert sys.modules.pop("outside_package")


def test_grants__folders_of_a_reader(tmp_path: Path) -> None:
    access = Access(folders=[str(tmp_path)]) | Access()
    assert rights(access, str(tmp_path / "model")) == landlock.READ


def test_grants__a_program_with_what_starts_it(tmp_path: Path) -> None:
    script = tmp_path / "engine"
    script.write_text("#!/usr/bin/env sh\ntrue\n")
    script.chmod(0o755)
    access = Access(programs=[str(script), "no-such-program"])
    shell = shutil.which("sh")
    assert shell
    for path in (str(script), "/usr/bin/env", shell, territory._loader(os.path.realpath(shell))):
        assert rights(access, path) & landlock.RUN == landlock.RUN, path
    assert rights(access, shutil.which("cat") or "") == 0


def test_grants__the_data_beside_a_program(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    shutil.copy("/bin/true", tmp_path / "bin" / "engine")
    access = Access(programs=[str(tmp_path / "bin" / "engine")])
    assert rights(access, str(tmp_path / "share" / "tessdata" / "eng.traineddata")) == landlock.READ
    assert rights(access, str(tmp_path / "secrets")) == 0
