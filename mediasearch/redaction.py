"""What an error says, without the names of files and titles that it says it about."""

from __future__ import annotations

import re
from collections.abc import Iterable

from mediasearch.models import Asset

_REDACTED = "…"
_NAMES = re.compile(
    r"""'[^'\n]*'|"[^"\n]*"|“[^”\n]*”|`[^`\n]*`  # What is quoted,
    |\S*[/\\]\S*  # a path or an address,
    |\S+\.[A-Za-z]\w{1,4}\b  # and what has a file's extension.
    """,
    re.VERBOSE,
)
_SHORTEST = 2
"""Characters of a name that is looked for: one letter is in every sentence."""


def redacted(sentence: str, asset: Asset | None = None) -> str:
    """Return a sentence without what looks like a name in it, and without the names of an asset."""
    for name in sorted(filter(None, map(str.strip, _names(asset))), key=len, reverse=True) if asset else ():
        if len(name) >= _SHORTEST:
            sentence = sentence.replace(name, _REDACTED)
    return _NAMES.sub(_REDACTED, sentence)


def _names(asset: Asset) -> Iterable[str]:
    """Return a title, and the file's name with and without its folders and its extension."""
    yield asset.title
    for path in (str(asset.file.name or ""), asset.file_version):
        yield path
        yield (name := path.rpartition("/")[2])
        yield name.rpartition(".")[0]
