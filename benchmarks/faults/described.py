"""Pictures whose files describe themselves, and what of their rows a person's edit must leave alone."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from benchmarks.faults import uploads

READ, TITLE = "EXIT", "Harbour"
"""What the reader of these experiments finds in every picture, and the title that every file bears."""
READER = {"BACKEND": "mediasearch.features.fake.FakeReader", "OPTIONS": {"text": READ}}
MEASURED = (
    "thumbnail", "content_hash", "width", "height", "mime_type", "byte_size", "perceptual_hash", "ocr_text",
    "ocr_words",
)  # fmt: skip
"""What workers find out."""
ADOPTED = ("title", "caption", "caption_source", "tags", "copyright", "taken_at")
"""What they take from the file where a person has said nothing."""
_XMP = b"""<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:xmp="http://ns.adobe.com/xap/1.0/"
 xmp:CreateDate="2020-05-06T07:08:09+02:00">
<dc:title><rdf:Alt><rdf:li xml:lang="x-default">%s</rdf:li></rdf:Alt></dc:title>
<dc:description><rdf:Alt><rdf:li xml:lang="x-default">Boats at dawn</rdf:li></rdf:Alt></dc:description>
<dc:subject><rdf:Bag><rdf:li>boat</rdf:li><rdf:li>sea</rdf:li></rdf:Bag></dc:subject>
<dc:rights><rdf:Alt><rdf:li xml:lang="x-default">CC0</rdf:li></rdf:Alt></dc:rights>
</rdf:Description></rdf:RDF></x:xmpmeta>"""
_CHUNK = 2_000


def picture(number: int) -> bytes:
    """Return a JPEG that no other number has, with title, description, keywords, rights and date."""
    from PIL import Image

    stream = io.BytesIO()
    with Image.open(io.BytesIO(uploads.picture(number))) as image:
        image.save(stream, "JPEG", xmp=_XMP % TITLE.encode())
    return stream.getvalue()


def upload(number: int, **texts: Any) -> Any:
    """Store such a picture and return the asset, as whoever uploads it has it in memory."""
    from django.core.files.base import ContentFile

    from mediasearch.models import Asset

    return Asset.objects.create(file=ContentFile(picture(number), name=f"{number}.jpg"), **texts)


def rows(ids: Iterable[int]) -> dict[int, dict[str, Any]]:
    """Return what the rows of assets hold now, by their ids."""
    from mediasearch.models import Asset

    ids, stored = list(ids), {}
    for start in range(0, len(ids), _CHUNK):
        some = Asset.objects.filter(pk__in=ids[start : start + _CHUNK])
        stored |= {row.pop("pk"): row for row in some.values("pk", *MEASURED, *ADOPTED, "settled")}
    return stored


def lost(
    before: Mapping[int, Mapping[str, Any]], after: Mapping[int, Mapping[str, Any]], changed: Collection[str] = ()
) -> Counter[str]:
    """Return how many values each field has lost, but for the fields that were changed on purpose."""
    losses: Counter[str] = Counter()
    for pk, row in before.items():
        if pk not in after:
            losses["whole rows"] += 1
            continue
        fields = [name for name in (*MEASURED, *ADOPTED) if name not in changed]
        losses.update(name for name in fields if _is_lost(name, row[name], after[pk][name]))
        settled = {key: value for key, value in row["settled"].items() if not key.startswith("embed_caption")}
        losses["settled"] += not settled.items() <= after[pk]["settled"].items()
    return +losses


def _is_lost(name: str, before: Any, after: Any) -> bool:
    from mediasearch.models import storage

    if before in (None, "", []) or before == after:
        return False
    # One that was made again has a name of its own.
    return name != "thumbnail" or not (after and storage().exists(after))


def unfound(ids: Iterable[int], word: str) -> int:
    """Return how many of these assets the text index does not find by a word in lower case."""
    from mediasearch.models import Asset

    ids, found = list(ids), 0
    for start in range(0, len(ids), _CHUNK):
        some = Asset.objects.filter(pk__in=ids[start : start + _CHUNK])
        found += some.extra(where=["text_vector @@ %s::tsquery"], params=[f"'{word}'"]).count()
    return len(ids) - found
