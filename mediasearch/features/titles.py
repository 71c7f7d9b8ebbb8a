"""What a title says, where it says anything: many are the names of files."""

from __future__ import annotations

import re

_EXTENSION = re.compile(r"\.(jpe?g|png|gif|webp|avif|tiff?|bmp|hei[cf])$", re.IGNORECASE)
_SEPARATORS = re.compile(r"[\W_]+")
_OF_DEVICES = frozenset(
    {"at", "copy", "dcim", "dsc", "dscf", "dscn", "file", "gopr", "image", "img", "mvimg", "original", "photo", "pic"}
    | {"picture", "pxl", "scan", "screenshot", "snapshot", "untitled", "whatsapp", "wp"}
)


def words(title: str) -> str:
    """Return a title as words; "" where it is no more than the name that a device or a program gave its file.

    "red-bicycle.jpg" says "red bicycle"; "IMG_1234", "DSC00012.JPG" and "3f2504e0-4f89" say nothing.
    """
    name, is_file = _EXTENSION.subn("", title.strip())
    said = [part for part in _SEPARATORS.split(name) if _is_word(part)]
    if not said:
        return ""
    return name if " " in name and not is_file else " ".join(part for part in _SEPARATORS.split(name) if part)


def _is_word(part: str) -> bool:
    """A word has letters alone, and more than one where a script writes words with several."""
    if not part.isalpha() or part.lower() in _OF_DEVICES:
        return False
    return len(part) > 1 or not part.isascii()
