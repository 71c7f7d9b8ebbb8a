"""The questions that can be asked, from Python."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING, Any

from asgiref.sync import sync_to_async
from django.db.models import QuerySet

from mediasearch import conf
from mediasearch.exceptions import QueryError
from mediasearch.models import Asset
from mediasearch.search import pictures
from mediasearch.search.answering import Search
from mediasearch.search.query import Filters, Part, Query, several
from mediasearch.search.results import Results
from mediasearch.sources import registry

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser, AnonymousUser


def search(
    text: str | Part | Sequence[str | Part] = "",
    *,
    image: pictures.Given | None = None,
    user: AbstractBaseUser | AnonymousUser | None = None,
    scope: QuerySet[Asset] | None = None,
    category: str = "",
    tags: Iterable[str] = (),
    after: date | None = None,
    before: date | None = None,
    language: str = "",
    weights: Mapping[str, float] | None = None,
    fusion: str | None = None,
    sort: str = "relevance",
    limit: int = 24,
    offset: int = 0,
    cursor: str | None = None,
    client: str | None = None,
) -> Results:
    """Find pictures by what they show and by what is written about and in them.

    Without `scope`, a search sees what `user` may see, and without `user` what a visitor may see who is not logged
    in. A `scope` is taken as it is: a queryset of assets without slices. `weights` replaces
    MEDIASEARCH["WEIGHTS"]; signals it does not name are off. `fusion` replaces MEDIASEARCH["FUSION"]. With nothing
    asked the newest pictures come first.

    `text` may be several: words, and `Part`s, which are words or a picture with a weight, added to the question or,
    below 0, subtracted from it. `image` is one more: a picture to find others like it, as its bytes, a binary file, an
    asset (which is then not among the hits), a `Crop` of one of these, an `Address` where those are fetched, or the
    `picture` of earlier results.

    `sort` is `relevance`, `date`, `title` or `size`, with a `-` for the last first: of a question's hits the best
    thousand are sorted. `offset` reaches the first thousand hits; `cursor` all of them, each once: begin with "", and
    go on with the `cursor` of the results until it is None. A cursor goes on for the `user` who began it.

    `client` names whoever asks, since the encoder of questions is shared fairly among clients; without it that is
    `user`, where logged in, and else nobody in particular. A view passes `mediasearch.clients.client_of(request)`.

    Returns lazy Results. Raises QueryError for a question that can't be asked, and PictureRefused, when the results
    are first looked at, for a picture that can't be opened.
    """
    visible = registry.visible_to(user) if scope is None else scope
    query = Query(
        parts=_parts(text, image, visible if scope is None else Asset.objects.all()),
        language=language,
        filters=Filters(category, several(tags), after, before),
        weights=conf.settings().weights if weights is None else conf.weights(weights, "weights", QueryError),
        fusion=conf.settings().fusion if fusion is None else fusion,
        sort=sort,
        limit=limit,
        offset=offset,
    )
    if cursor is not None and offset:
        raise QueryError("A cursor says itself where to go on: leave out the offset.")
    for part in query.pictures:
        if isinstance(part.image, Asset):
            visible = _without(part.image, visible, scope)
    search = Search(query, visible, cursor, registry.name_of(user), _client(client, user))
    return Results(search, limit, offset)


async def asearch(*args: Any, **kwargs: Any) -> Results:
    """Search as `search` does, for coroutines: the results have run when they are returned."""

    def run() -> Results:
        results = search(*args, **kwargs)
        _ = results.outcome
        return results

    return await sync_to_async(run)()


def _client(client: str | None, user: AbstractBaseUser | AnonymousUser | None) -> str:
    """Return the name of whoever asks; "" for nobody in particular. Raises QueryError."""
    if client is None:
        return f"user {user.pk}" if user is not None and user.is_authenticated else ""
    if not isinstance(client, str):
        raise QueryError(f"`client` is a str, not {type(client).__name__}.")
    return client


def _parts(
    text: str | Part | Sequence[str | Part], image: pictures.Given | None, visible: QuerySet[Asset]
) -> tuple[Part, ...]:
    """Return the parts of a question, empty words left out, files read into memory. Raises QueryError.

    Parts of assets that are not `visible` are never looked at; whoever passes a scope has seen to that.
    """
    if not isinstance(text, str | Part | list | tuple):
        raise QueryError(f"A question is a str, a Part or a list of these, not {type(text).__name__}.")
    asked = [text] if isinstance(text, str | Part) else [*text]
    parts: list[Part] = []
    for one in [*asked, *([] if image is None else [Part(image=image)])]:
        if isinstance(one, str):
            words = one.replace("\x00", "").strip()
            parts += [Part(words)] if words else []
        elif isinstance(one, Part):
            parts.append(one if one.image is None else replace(one, image=pictures.take(one.image, visible)))
        else:
            raise QueryError(f"A part of a question is a str or a Part, not {type(one).__name__}.")
    return tuple(parts)


def _without(asset: Asset, visible: QuerySet[Asset], scope: QuerySet[Asset] | None) -> QuerySet[Asset]:
    """Return what a search like an asset looks through. Whoever passes a scope has seen to what may be seen."""
    if scope is None and not visible.filter(pk=asset.pk).exists():
        raise QueryError("This user may not see the picture that the search is to be like.")
    return visible.exclude(pk=asset.pk)
