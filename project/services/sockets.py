"""Where Unix sockets lie, whose paths must be short."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

_LONGEST_FOLDER = 75
"""In bytes: Linux takes 107 for the whole path, macOS 103, and the names we put in it are up to 27 long."""


def folder_for(folder: Path) -> Path:
    """Return the folder itself, or, where its path is too long, a short one that a link beside it names."""
    folder = folder.resolve()
    if len(os.fsencode(folder)) <= _LONGEST_FOLDER:
        return folder
    link = folder.with_name(f"{folder.name}.sockets")
    if not link.is_dir():
        link.unlink(missing_ok=True)
        link.symlink_to(tempfile.mkdtemp(prefix="mediasearch-"))
    return link.resolve()
