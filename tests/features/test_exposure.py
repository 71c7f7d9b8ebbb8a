from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mediasearch.features import exposure

CONFINED = """
import sys
from mediasearch.features import confinement, exposure, landlock
confinement.enclose(sys.argv[1], None)
print(landlock.version(), *exposure.exposures(sys.argv[1]))
"""


def test_exposures__of_a_process_that_gave_up_nothing(tmp_path: Path) -> None:
    names = set(exposure.exposures(str(tmp_path / "own")))
    assert names >= {"files", "writing", "network", "programs", "signals"}
    assert exposure.THREADS not in names
    assert os.listdir(tmp_path) == []


def test_exposures__of_one_that_gave_up_all_but_its_folder(tmp_path: Path) -> None:
    command = [sys.executable, "-c", CONFINED, str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    version, *names = ended.stdout.split()
    if version == "0":
        pytest.skip("this kernel has no Landlock, or forbids it")
    assert names == []
