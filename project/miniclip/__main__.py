"""`python -m project.miniclip FOLDER`: assemble the demo's encoder."""

from __future__ import annotations

import sys
from pathlib import Path

from project.miniclip.assemble import AssemblyError, assemble

if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("Usage: python -m project.miniclip FOLDER")
    try:
        print(assemble(Path(sys.argv[1])))
    except AssemblyError as error:
        sys.exit(str(error))
