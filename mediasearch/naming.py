"""How files are called: nobody can guess a stored name, none is given twice, and none says more than its content.

What an upload is called decides nothing. A web server derives a file's type from its extension, so that `evil.html`
would be a page of the site, whatever the form had found in it.
"""

from __future__ import annotations

import re
import secrets

from django.utils.text import slugify

from mediasearch.features import signatures

_LONGEST_STEM = 80
"""Bytes: disks count them, where Django counts characters."""
_TOKEN = 12
"""Random bytes of a name."""
_SUFFIX = re.compile(r"\.[A-Za-z]\w{0,4}$")
_RANDOM = re.compile(rf"-[0-9a-f]{{{2 * _TOKEN}}}$")


def file_name(upload_name: str, head: bytes) -> str:
    """Return a new name for an upload, of its own words and with the extension that its first bytes call for."""
    kind = signatures.extension(signatures.mime_type(head))
    return f"{stem(_last_part(upload_name)) or 'picture'}-{secrets.token_hex(_TOKEN)}{kind}"


def thumbnail_name() -> str:
    """Return a new name for a thumbnail."""
    token = secrets.token_hex(_TOKEN)
    return f"mediasearch/thumbnails/{token[:2]}/{token}.webp"


def stem(name: str) -> str:
    """Return the words of a title or of a file's name, in letters that any disk and address takes; "" of none."""
    words = re.sub(r"[./\\]", " ", _RANDOM.sub("", _SUFFIX.sub("", name.strip())))
    return slugify(words, allow_unicode=True).encode()[:_LONGEST_STEM].decode(errors="ignore").strip("-_")


def download_name(title: str, stored_name: str, mime_type: str) -> str:
    """Return what a file is called on the disk of whoever downloads it."""
    return f"{stem(title) or stem(_last_part(stored_name)) or 'picture'}{signatures.extension(mime_type)}"


def _last_part(path: str) -> str:
    return re.split(r"[/\\]", path)[-1]
