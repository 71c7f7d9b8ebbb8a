"""What an image file says about itself: EXIF, IPTC and XMP.

XMP wins over IPTC and IPTC over EXIF, as editors that write several keep XMP the most exact. Broken metadata never
spoils a picture: what can't be read is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

from PIL import ExifTags, Image, IptcImagePlugin

T = TypeVar("T")
LONGEST = 5_000
"""Characters of one text that are kept."""
MOST_KEYWORDS = 100
YEARS = range(1_000, 9_999)
"""What a database can hold in any time zone; cameras whose clock was never set say 0000."""


@dataclass(frozen=True, slots=True)
class Metadata:
    """Texts and date found in a file; an empty value where the file says nothing."""

    title: str = ""
    caption: str = ""
    keywords: tuple[str, ...] = ()
    copyright: str = ""
    taken_at: datetime | None = None
    """With a time zone; a file that names none is taken to speak of UTC."""


def read(image: Image.Image) -> Metadata:
    """Return what an opened image says about itself."""
    sources = [_quietly(reader, image, Metadata()) for reader in (_xmp, _iptc, _exif)]
    return Metadata(
        title=next((s.title for s in sources if s.title), ""),
        caption=next((s.caption for s in sources if s.caption), ""),
        keywords=next((s.keywords for s in sources if s.keywords), ()),
        copyright=next((s.copyright for s in sources if s.copyright), ""),
        taken_at=next((s.taken_at for s in reversed(sources) if s.taken_at), None),
    )


def _quietly(reader: Callable[[Image.Image], T], image: Image.Image, otherwise: T) -> T:
    try:
        return reader(image)
    except Exception:  # Part of opening an untrusted file: the parsers fail in every way there is.
        return otherwise


def _exif(image: Image.Image) -> Metadata:
    exif = image.getexif()
    details = exif.get_ifd(ExifTags.IFD.Exif)
    date = details.get(ExifTags.Base.DateTimeOriginal) or exif.get(ExifTags.Base.DateTime)
    offset = details.get(ExifTags.Base.OffsetTimeOriginal)
    return Metadata(
        caption=_clean(exif.get(ExifTags.Base.ImageDescription)),
        copyright=_clean(exif.get(ExifTags.Base.Copyright)),
        taken_at=_exif_date(_clean(date), _clean(offset)),
    )


def _exif_date(date: str, offset: str) -> datetime | None:
    for text, pattern in ((date + offset, "%Y:%m:%d %H:%M:%S%z"), (date, "%Y:%m:%d %H:%M:%S")):
        try:
            found = datetime.strptime(text, pattern)
        except ValueError:
            continue
        return _believable(found)
    return None


def _believable(found: datetime) -> datetime | None:
    if found.year not in YEARS:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _iptc(image: Image.Image) -> Metadata:
    records: dict[tuple[int, int], Any] = IptcImagePlugin.getiptcinfo(image) or {}  # type: ignore[arg-type]
    encoding = "utf-8" if records.get((1, 90)) == b"\x1b%G" else None

    def texts(dataset: int) -> list[str]:
        value = records.get((2, dataset), [])
        return [_decode(v, encoding) for v in (value if isinstance(value, list) else [value])]

    def first(dataset: int) -> str:
        return next(iter(texts(dataset)), "")

    return Metadata(title=first(5), caption=first(120), keywords=_unique(texts(25)), copyright=first(116))


def _decode(value: bytes, encoding: str | None) -> str:
    try:
        return _clean(value.decode(encoding or "utf-8"))
    except UnicodeDecodeError:
        return _clean(value.decode("latin-1"))


def _xmp(image: Image.Image) -> Metadata:
    description = image.getxmp().get("xmpmeta", {}).get("RDF", {}).get("Description", {})
    fields: dict[str, Any] = {}
    for part in description if isinstance(description, list) else [description]:
        fields.update(part)
    return Metadata(
        title=next(iter(_xmp_texts(fields.get("title"))), ""),
        caption=next(iter(_xmp_texts(fields.get("description"))), ""),
        keywords=_unique(_xmp_texts(fields.get("subject"))),
        copyright=next(iter(_xmp_texts(fields.get("rights"))), ""),
        taken_at=_iso_date(fields.get("DateCreated") or fields.get("CreateDate")),
    )


def _xmp_texts(value: Any) -> list[str]:
    """Flatten an RDF bag, sequence or language alternative."""
    if isinstance(value, str):
        return [_clean(value)]
    if isinstance(value, list):
        return [text for item in value for text in _xmp_texts(item)]
    if isinstance(value, dict):
        inner = next((value[key] for key in ("Alt", "Bag", "Seq", "li", "text") if key in value), None)
        return _xmp_texts(inner)
    return []


def _iso_date(value: Any) -> datetime | None:
    try:
        found = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None
    return _believable(found)


def _unique(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(text for text in texts if text))[:MOST_KEYWORDS]


def _clean(value: Any) -> str:
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if not isinstance(value, str):
        return ""
    return value.replace("\x00", "").strip()[:LONGEST]
