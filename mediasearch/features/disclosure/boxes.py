"""HEIC and AVIF files: boxes, and items that lie in some of them.

Boxes that are taken out become free space, so that nothing moves; at the end of the
file they are cut off. The bytes of items are copied one by one, so that what belongs to
no allowed item is zero.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mediasearch.exceptions import Withheld
from mediasearch.features.disclosure import items, ranges
from mediasearch.features.disclosure.allowance import Allowance
from mediasearch.features.disclosure.allowed import INDEX_BOXES, MOVIE_BOXES, PROPERTIES, TRACKS
from mediasearch.features.disclosure.ranges import Range

_MOVIE_FOLDERS = frozenset({b"trak", b"mdia", b"minf", b"stbl"})
_FULL = 4
"""Bytes of version and flags."""
_MOST_COPIES, _MOST_BOXES = 3, 100_000


@dataclass(frozen=True, slots=True)
class Box:
    """A part of the file: where it begins, its content begins, and it ends."""

    kind: bytes
    start: int
    content: int
    stop: int


def is_heif(data: bytes) -> bool:
    return data[4:8] == b"ftyp"


def cleared(data: bytes) -> bytes:
    """Return a HEIC or AVIF with only what is allowed. Raises Withheld."""
    return _Rebuilding(data).finished()


def boxes(data: bytes, start: int, stop: int) -> Iterator[Box]:
    """Yield the boxes of a part of a file. Raises Withheld."""
    at = start
    for _ in range(_MOST_BOXES):
        if at + 8 > stop:
            return
        size, head = int.from_bytes(data[at : at + 4], "big"), 8
        if size == 1:
            size, head = int.from_bytes(data[at + 8 : at + 16], "big"), 16
        end = at + size if size else stop
        if (size and size < head) or end > stop:
            raise Withheld("A box of this file ends outside of it.")
        yield Box(data[at + 4 : at + 8], at, at + head, end)
        at = end
    raise Withheld("This file has too many boxes.")


class _Rebuilding:
    """A file on its way from the original to the copy."""

    def __init__(self, data: bytes) -> None:
        self._data, self._copy = data, bytearray(len(data))
        self._outer = list(boxes(data, 0, len(data)))
        self._indices = list[Box]()
        self._end, self._allowance = 0, Allowance()

    def finished(self) -> bytes:
        """Return the copy, without the free space at its end. Raises Withheld."""
        kinds = {box.kind for box in self._outer}
        if not kinds & {b"meta", b"moov"}:
            raise Withheld("This file does not say where its pictures are.")
        for box in self._outer:
            self._box(box, is_animated=b"moov" in kinds)
        self._items()
        return bytes(self._copy[: self._end])

    def _box(self, box: Box, *, is_animated: bool) -> None:
        """Copy one of the outermost boxes; an animation's frames are no items, so that their box is copied whole."""
        if box.kind == b"ftyp" or (box.kind == b"mdat" and is_animated):
            self._put((box.start, box.stop))
        elif box.kind == b"mdat":
            self._put((box.start, box.content))
        elif box.kind == b"meta":
            self._meta(box)
        elif box.kind == b"moov":
            self._movie(box)
        else:
            self._free(box)
            return
        self._end = box.stop

    def _meta(self, meta: Box) -> None:
        """Copy an index of items; an animation has more than one."""
        self._indices.append(meta)
        self._put((meta.start, meta.content + _FULL))
        for box in boxes(self._data, meta.content + _FULL, meta.stop):
            if box.kind in INDEX_BOXES:
                self._put((box.start, box.stop))
            elif box.kind == b"idat":
                self._put((box.start, box.content))
            elif box.kind == b"iprp":
                self._properties(box)
            else:
                self._free(box)

    def _properties(self, iprp: Box) -> None:
        self._put((iprp.start, iprp.content))
        for box in boxes(self._data, iprp.content, iprp.stop):
            self._put((box.start, box.stop))
            for one in boxes(self._data, box.content, box.stop) if box.kind == b"ipco" else ():
                if one.kind not in PROPERTIES:
                    self._free(one)

    def _movie(self, folder: Box) -> None:
        self._put((folder.start, folder.content))
        for box in boxes(self._data, folder.content, folder.stop):
            if box.kind == b"hdlr" and self._data[box.content + 8 : box.content + 12] not in TRACKS:
                raise Withheld("This animation has a track that is no picture.")
            if box.kind in _MOVIE_FOLDERS:
                self._movie(box)
            elif box.kind == b"meta":
                self._meta(box)
            elif box.kind in MOVIE_BOXES:
                self._put((box.start, box.stop))
            else:
                self._free(box)

    def _items(self) -> None:
        """Copy the items that are pictures, and those of metadata cleared. Raises Withheld."""
        placed = [item for meta in self._indices for item in self._index(meta)]
        pixels = [extent for kind, extents in placed if items.is_picture(kind) for extent in extents]
        others = [extent for kind, extents in placed if not items.is_picture(kind) for extent in extents]
        if sum(stop - start for start, stop in pixels + others) > _MOST_COPIES * len(self._data):
            raise Withheld("The items of this file lie across each other.")
        ranges.hold_apart(pixels, others)
        for extent in pixels:
            self._put(extent)
        for start, stop in others:
            self._copy[start:stop] = bytes(stop - start)
        for kind, extents in placed:
            self._metadata(kind, extents)

    def _index(self, meta: Box) -> list[tuple[bytes, list[Range]]]:
        """Return each item's kind, and where its bytes are. Raises Withheld."""
        inner = {box.kind: box for box in boxes(self._data, meta.content + _FULL, meta.stop)}
        iinf, iloc, idat = inner.get(b"iinf"), inner.get(b"iloc"), inner.get(b"idat")
        if iinf is None or iloc is None:
            return []
        wide = self._data[iinf.content] > 0
        start = iinf.content + _FULL + (4 if wide else 2)
        infos = [self._data[box.content : box.stop] for box in boxes(self._data, start, iinf.stop)]
        kinds = dict(map(items.described, infos))
        store = (idat.content, idat.stop) if idat else (0, 0)
        places = items.places(self._data[iloc.content : iloc.stop], len(self._data), store)
        return [(kinds.get(number, b""), extents) for number, extents in places.items()]

    def _metadata(self, kind: bytes, extents: list[Range]) -> None:
        clear = items.CLEARED.get(kind)
        if clear is None or not self._allowance.take():
            return
        left = clear(b"".join(self._data[start:stop] for start, stop in extents))
        for start, stop in extents:
            self._copy[start:stop] = left[: stop - start]
            left = left[stop - start :]

    def _put(self, extent: Range) -> None:
        start, stop = extent
        self._copy[start:stop] = self._data[start:stop]

    def _free(self, box: Box) -> None:
        """Make a box free space of the same length."""
        self._copy[box.start : box.stop] = (
            self._data[box.start : box.start + 4]
            + b"free"
            + self._data[box.start + 8 : box.content]
            + bytes(box.stop - box.content)
        )
