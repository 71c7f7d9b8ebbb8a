"""TIFF files, and what has their structure: EXIF blocks and the index of a multi-picture JPEG.

The structure is built anew, at the same offsets and of the same length, from what
`allowed.DIRECTORIES` names. All that nothing allowed points to is zero by construction:
maker notes, directories of GPS data and of previews, gaps.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from PIL.ExifTags import Base

from mediasearch.exceptions import Withheld
from mediasearch.features.disclosure import iptc, ranges, xmp
from mediasearch.features.disclosure.allowance import Allowance
from mediasearch.features.disclosure.allowed import DIRECTORIES, Directory
from mediasearch.features.disclosure.ranges import Range

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
"""Bytes of a value, by TIFF's number of its type."""
_INTEGERS = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}
_PIXELS = (
    (Base.StripOffsets, Base.StripByteCounts),
    (Base.TileOffsets, Base.TileByteCounts),
)
_OLD_JPEG, _JPEG = 6, 7
"""Of the tag Compression."""
_PACKETS: dict[str, Callable[[bytes], bytes]] = {
    "xmp": xmp.cleared,
    "iptc": iptc.cleared,
    "photoshop": iptc.resources,
}
_INDEX_ENTRIES, _INDEX_ENTRY = 0xB002, 16
_MOST_ENTRIES, _MOST_NUMBERS, _MOST_COPIES = 50_000, 1_000_000, 3
"""Entries of all directories, numbers of one entry, and bytes copied for each byte there is.

Directories may share values, but a thousand may not share all pixels.
"""


@dataclass(frozen=True, slots=True)
class _Layout:
    """How numbers and directories are written: classic or BigTIFF."""

    order: str
    header: int
    count: str
    entry: str
    offset: str

    @property
    def inline(self) -> int:
        """Bytes of a value that stands in its entry."""
        return struct.calcsize(self.offset)

    @property
    def entry_size(self) -> int:
        return struct.calcsize(self.order + self.entry) + self.inline


_LAYOUTS = {
    b"II*\0": _Layout("<", 8, "H", "HHI", "I"),
    b"MM\0*": _Layout(">", 8, "H", "HHI", "I"),
    b"II+\0": _Layout("<", 16, "Q", "HHQ", "Q"),
    b"MM\0+": _Layout(">", 16, "Q", "HHQ", "Q"),
}
SIGNATURES = tuple(_LAYOUTS)
EMPTY = b"II*\0\x08\0\0\0\0\0\0\0\0\0"
"""A structure that says nothing."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """One line of a directory, with where its value lies."""

    tag: int
    kind: int
    count: int
    raw: bytes
    start: int
    stop: int


def exif(block: bytes) -> bytes:
    """Return a block of EXIF with only what is allowed, of the same length; b"" where it is none.

    Where its parts lie across each other, only the orientation is left.
    """
    return _block(block, "exif", "orientation")


def multi_picture(block: bytes) -> bytes:
    """Return the index of a multi-picture JPEG without unique ids, of the same length; b"" where it is none."""
    return _block(block, "multi-picture")


def pictures(block: bytes) -> list[int]:
    """Return where the pictures of a multi-picture index begin, counted from the block; 0 is the first of them."""
    rebuilding = _Rebuilding(block)
    index = rebuilding.value(_INDEX_ENTRIES)
    form = rebuilding.order + "8xI4x"
    return [offset for (offset,) in struct.iter_unpack(form, index[: len(index) // _INDEX_ENTRY * _INDEX_ENTRY])]


def cleared(data: bytes, jpeg: Callable[[bytes], bytes]) -> bytes:
    """Return a TIFF file with only what is allowed, of the same length; `jpeg` clears a strip that is one itself.

    Raises Withheld.
    """
    rebuilding = _Rebuilding(data, jpeg)
    if not rebuilding.directories("page"):
        raise Withheld("This TIFF has no directory.")
    return rebuilding.finished()


def _block(block: bytes, *kinds: str) -> bytes:
    """Return a block as the first of these kinds of directories that it can be cleared as."""
    for kind in kinds:
        with suppress(Withheld):
            rebuilding = _Rebuilding(block)
            return rebuilding.finished() if rebuilding.directories(kind) else b""
    return b""


class _Rebuilding:
    """A TIFF structure on its way from the original to the copy."""

    def __init__(self, data: bytes, jpeg: Callable[[bytes], bytes] = bytes) -> None:
        layout = _LAYOUTS.get(bytes(data[:4]))
        if layout is None or len(data) < layout.header:
            raise Withheld("This is no TIFF structure.")
        self._data, self._layout, self._jpeg = data, layout, jpeg
        self._copy = bytearray(len(data))
        self._tables: dict[int, bytes] = {}
        self._pixels, self._values = list[Range](), list[Range]()
        self._dropped, self._rewritten = list[Range](), [(0, layout.header)]
        self._left, self._lines_left = _MOST_COPIES * len(data), _MOST_ENTRIES
        self._allowance = Allowance()

    @property
    def order(self) -> str:
        return self._layout.order

    @property
    def _first(self) -> int:
        return self._number(self._layout.header - self._layout.inline, self._layout.offset)

    def value(self, tag: int) -> bytes:
        """Return the original value of a tag of the first directory; b"" where there is none."""
        entries, _ = self._entries(self._first)
        return next((self._data[entry.start : entry.stop] for entry in entries if entry.tag == tag), b"")

    def directories(self, kind: str) -> bool:
        """Copy the first directory and, where that is allowed, those that follow; return whether there is one."""
        return self._directory(self._first, kind)

    def finished(self) -> bytes:
        """Return the copy. Raises Withheld where what is kept and what goes share bytes.

        Directories are written last: a value that lies across one must not bring back
        what was taken out of it.
        """
        ranges.hold_apart(self._pixels + self._values, self._dropped)
        ranges.hold_apart(self._pixels, self._rewritten)
        self._copy[: self._layout.header] = self._data[: self._layout.header]
        for at, table in self._tables.items():
            self._copy[at : at + len(table)] = table
        return bytes(self._copy)

    def _directory(self, at: int, kind: str) -> bool:
        """Copy a directory, and those that follow it; return whether it can be read."""
        policy, first = DIRECTORIES[kind], at
        while at and at not in self._tables:
            entries, stop = self._entries(at)
            if stop == 0:
                break
            following = self._number(stop, self._layout.offset) if policy.is_chained else 0
            following = following if self._has_directory(following) else 0
            self._tables[at] = b""  # So that a directory that names itself ends here.
            self._tables[at] = self._table(at, stop, entries, policy, following)
            at = following
        return first in self._tables

    def _table(self, at: int, stop: int, entries: Sequence[_Entry], policy: Directory, following: int) -> bytes:
        """Return a directory with only its allowed entries, moved up; what they leave is zero."""
        layout = self._layout
        if policy.has_pixels:
            self._keep_pixels(entries)
        kept = dict[int, bytes]()
        for entry in entries:
            if self._keeps(entry, policy):
                kept.setdefault(entry.tag, entry.raw)
        table = struct.pack(layout.order + layout.count, len(kept)) + b"".join(kept.values())
        table += struct.pack(layout.order + layout.offset, following)
        length = min(stop + layout.inline, len(self._data)) - at  # Some end without the last number.
        return table.ljust(length, b"\0")[:length]

    def _keeps(self, entry: _Entry, policy: Directory) -> bool:
        """Copy the value of an entry, and return whether it was allowed and could be read."""
        is_apart = entry.stop - entry.start > self._layout.inline
        value = self._data[entry.start : entry.stop]
        if entry.tag in policy.children:
            is_kept = self._children(entry, policy.children[entry.tag])
        elif entry.tag in policy.packets:
            may_read = is_apart and self._allowance.take()
            value = _PACKETS[policy.packets[entry.tag]](value) if may_read else b""
            is_kept = bool(value)
        else:
            is_kept = entry.tag in policy.values
        if is_apart and is_kept:
            self._put(entry.start, value)
        if is_apart:
            rewritten = self._rewritten if entry.tag in policy.packets else self._values
            (rewritten if is_kept else self._dropped).append((entry.start, entry.stop))
        return is_kept

    def _children(self, entry: _Entry, kind: str) -> bool:
        """Copy the directories that an entry names; return whether all could be read and are allowed."""
        places = self._numbers(entry)
        readable = [self._directory(place, kind) for place in places]
        return bool(places) and all(readable) and kind != "dropped"

    def _keep_pixels(self, entries: Sequence[_Entry]) -> None:
        """Copy strips and tiles. Raises Withheld where it can't be said where they are."""
        by_tag = {entry.tag: entry for entry in reversed(entries)}
        compression = self._numbers(by_tag[Base.Compression]) if Base.Compression in by_tag else []
        if compression == [_OLD_JPEG]:
            raise Withheld("This TIFF holds a JPEG of the old kind, whose parts lie anywhere.")
        for offsets, sizes in _PIXELS:
            if offsets not in by_tag:
                continue
            starts = self._numbers(by_tag[offsets])
            lengths = self._numbers(by_tag[sizes]) if sizes in by_tag else []
            if len(starts) != len(lengths):
                raise Withheld("This TIFF does not say how long its pixels are.")
            for start, length in zip(starts, lengths, strict=True):
                stop = min(start + length, len(self._data))
                if start < stop:
                    self._pixels.append((start, stop))
                    strip = self._data[start:stop]
                    self._put(start, self._jpeg(strip) if compression == [_JPEG] else strip)

    def _put(self, start: int, value: bytes) -> None:
        self._left -= len(value)
        if self._left < 0:
            raise Withheld("The parts of this file lie across each other.")
        self._copy[start : start + len(value)] = value

    def _entries(self, at: int) -> tuple[list[_Entry], int]:
        """Return the readable entries of a directory, and where they end; 0 where there is no directory."""
        layout, start = self._layout, at + struct.calcsize(self._layout.count)
        if not self._has_directory(at):
            return [], 0
        most = (len(self._data) - start) // layout.entry_size
        count = min(self._number(at, layout.count), most)
        stop = start + count * layout.entry_size
        self._lines_left -= count + 1
        if self._lines_left < 0:
            raise Withheld("This file has too many directories, or too large ones.")
        self._rewritten.append((at, stop))
        return list(self._lines(start, stop)), stop

    def _has_directory(self, at: int) -> bool:
        """Return whether a directory may begin there."""
        return self._layout.header <= at <= len(self._data) - struct.calcsize(self._layout.count)

    def _lines(self, start: int, stop: int) -> Iterator[_Entry]:
        layout = self._layout
        head = struct.Struct(layout.order + layout.entry)
        for at in range(start, stop, layout.entry_size):
            tag, kind, count = head.unpack_from(self._data, at)
            size = _SIZES.get(kind, 0) * count
            place = at + head.size
            if size > layout.inline:
                place = self._number(place, layout.offset)
            if size and place + size <= len(self._data):
                yield _Entry(tag, kind, count, bytes(self._data[at : at + layout.entry_size]), place, place + size)

    def _numbers(self, entry: _Entry) -> list[int]:
        if entry.kind not in _INTEGERS:
            return []
        if entry.count > _MOST_NUMBERS:
            raise Withheld("This file has too many strips or tiles.")
        form = f"{self._layout.order}{entry.count}{_INTEGERS[entry.kind]}"
        return list(struct.unpack_from(form, self._data, entry.start))

    def _number(self, at: int, form: str) -> int:
        if at + struct.calcsize(form) > len(self._data):
            return 0
        (number,) = struct.unpack_from(self._layout.order + form, self._data, at)
        return int(number)
