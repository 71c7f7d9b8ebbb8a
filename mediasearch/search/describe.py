"""Describe a picture with texts of the library: find assets near it, compare their texts one by one.

Stored are vectors of whole descriptions. They find the assets whose texts are worth a look, together with the image
vectors; a description that is one text alone needs no other vector. Tags, lines of OCR and one text of several are
encoded when they are asked for, and then cached.
"""

from __future__ import annotations

from itertools import chain, zip_longest
from typing import TYPE_CHECKING, Any

from asgiref.sync import sync_to_async
from django.db.models import QuerySet
from django.utils.translation import gettext

from mediasearch.exceptions import QueryError, Unavailable
from mediasearch.features import language
from mediasearch.models import Asset, Generation
from mediasearch.search import pictures, texts, vectors
from mediasearch.search.descriptions import Description, Descriptions, Told
from mediasearch.search.nearest import cosines, nearest
from mediasearch.search.query import LONGEST
from mediasearch.search.results import Notice
from mediasearch.sources import registry

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser, AnonymousUser

MOST = 200
"""Texts that an answer may have, and assets that are looked at for each of the two fields."""
_SECONDS = 2.0
"""For encoding texts that have no stored vector; what was made is cached, and so the next time reaches further."""
_TRIES = 3
"""How often a description starts again because the model was changed meanwhile."""


def describe(
    image: pictures.Given,
    *,
    limit: int = 10,
    user: AbstractBaseUser | AnonymousUser | None = None,
    scope: QuerySet[Asset] | None = None,
    own: bool = True,
) -> Descriptions:
    """Describe a picture with the texts of the library that fit it best.

    Texts are titles that are words, alt texts, captions, tags and lines read in pictures, each for itself; the same
    text twice is one answer that names its assets. `image`, `user` and `scope` are as in `search`. An asset's own texts
    are among the answers, unless `own` is False.

    Returns lazy Descriptions. Raises QueryError for a question that can't be asked, and PictureRefused, when the
    descriptions are first looked at, for a picture that can't be opened.
    """
    if not 1 <= limit <= MOST:
        raise QueryError(f"A picture is described by from 1 to {MOST} texts: change limit.")
    visible = registry.visible_to(user) if scope is None else scope
    asked = pictures.take(image, visible if scope is None else Asset.objects.all())
    return Descriptions(lambda: _run(asked, limit, _scope(asked, visible, own=own, vouched=scope is not None)))


async def adescribe(*args: Any, **kwargs: Any) -> Descriptions:
    """Describe as `describe` does, for coroutines: the descriptions have run when they are returned."""

    def run() -> Descriptions:
        described = describe(*args, **kwargs)
        _ = described.told
        return described

    return await sync_to_async(run)()


def _scope(asked: pictures.Asked, visible: QuerySet[Asset], *, own: bool, vouched: bool) -> QuerySet[Asset]:
    """Return what texts are taken from. Whoever passes a scope has seen to what may be seen."""
    if not isinstance(asked, Asset):
        return visible
    if not vouched and not visible.filter(pk=asked.pk).exists():
        raise QueryError("This user may not see the picture that is to be described.")
    return visible if own else visible.exclude(pk=asked.pk)


def _run(asked: pictures.Asked, limit: int, scope: QuerySet[Asset]) -> Told:
    """Describe from one generation: one that was active until its vectors were read."""
    for _ in range(_TRIES):
        generation = Generation.objects.active()
        told = _answer(asked, limit, scope, generation)
        if Generation.objects.active() == generation:
            break
    return told


def _answer(asked: pictures.Asked, limit: int, scope: QuerySet[Asset], generation: Generation | None) -> Told:
    if generation is None:
        reason = gettext("No picture has been encoded yet: an embed worker makes the first generation when it starts.")
        return Told(notices=(Notice("image", reason),))
    try:
        picture = pictures.look(asked, generation)
    except Unavailable as error:
        return Told(notices=(Notice("image", str(error)),))
    assets = _candidates(asked, picture.vector, scope, generation)
    near = cosines(picture.vector, generation.told_field, generation, scope, [asset.pk for asset in assets])
    stored = {asset.description: near[asset.pk] for asset in assets if asset.pk in near}
    origins = texts.gather(assets, stored)
    try:
        encoded, notices = _encoded([text for text in origins if text not in stored], picture.vector, generation)
        scores = stored | encoded
    except Unavailable as error:
        scores, notices = stored, (Notice("caption", str(error)),)
        origins = texts.whole([asset for asset in assets if asset.pk in near])
    ranked = sorted((text for text in origins if text in scores), key=lambda text: -scores[text])
    return Told(
        descriptions=tuple(Description(text, scores[text], tuple(origins[text])) for text in ranked[:limit]),
        notices=notices,
        picture=picture,
    )


def _candidates(
    asked: pictures.Asked, vector: vectors.Vector, scope: QuerySet[Asset], generation: Generation
) -> list[Asset]:
    """Return the assets whose texts are compared: the described one, and those near by their texts or their looks."""
    near = nearest(vector, (generation.told_field, "image"), generation, scope, MOST)
    told, looks = ([pk for pk, _ in found] for found in near)
    ids = [asked.pk] if isinstance(asked, Asset) else []
    ids = list(dict.fromkeys(pk for pk in chain(ids, *zip_longest(told, looks)) if pk is not None))
    assets = scope.defer("text_vector", "ocr_words").in_bulk(ids)
    return [assets[pk] for pk in ids if pk in assets]


def _encoded(
    wanted: list[str], vector: vectors.Vector, generation: Generation
) -> tuple[dict[str, float], tuple[Notice, ...]]:
    """Return the cosines of texts, and what is to be said of those that have none. Raises EncoderUnavailable."""
    languages = generation.reads("image")
    # The lines that the encoder reads, as indexing has it; no encoder reads further than so many characters.
    read = {text: language.readable(text[:LONGEST], languages) for text in wanted}
    made = vectors.of_texts(list(filter(None, read.values())), generation, "image", _SECONDS)
    notices = []
    if not all(read.values()):
        known = ", ".join(gettext(language.name(code)) for code in sorted(languages or ()))
        reason = gettext("The encoder reads %(known)s; texts in other languages are left out.")
        notices.append(Notice("caption", reason % {"known": known}))
    if any(line and line not in made for line in read.values()):
        reason = gettext("There was no time to compare all texts; asked again, more of them are.")
        notices.append(Notice("caption", reason))
    return {text: float(made[line] @ vector) for text, line in read.items() if line in made}, tuple(notices)
