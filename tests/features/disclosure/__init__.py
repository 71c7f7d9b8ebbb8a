"""What leaves with a file, judged by others' readers."""

from __future__ import annotations

import pytest

from benchmarks.faults import judges

needs_exiftool = pytest.mark.skipif(judges.EXIFTOOL is None, reason="exiftool is not installed")
