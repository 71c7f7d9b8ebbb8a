"""The pages that visitors see: a search, a picture, and the files of both."""

from __future__ import annotations

import hashlib
import mimetypes
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import EmptyResultSet
from django.db import connections
from django.http import FileResponse, Http404, HttpRequest, HttpResponse, HttpResponseBase, QueryDict
from django.shortcuts import get_object_or_404, render
from django.utils.cache import get_conditional_response
from django.utils.translation import get_language, gettext, override
from django.views.decorators.http import require_safe

from mediasearch import conf
from mediasearch.exceptions import QueryError
from mediasearch.features.images import MIME_TYPES
from mediasearch.forms import SearchForm
from mediasearch.models import Asset, Generation, storage
from mediasearch.querysets import AssetQuerySet
from mediasearch.search import engine
from mediasearch.search.query import DEEPEST
from mediasearch.search.results import Outcome
from mediasearch.sources.registry import source_of, visible_to

SHOWN_BY_BROWSERS = {"image/jpeg", "image/png", "image/gif", "image/webp", "image/avif", "image/bmp"}
_A_YEAR = 31_536_000
_MOST_CATEGORIES = 200


@require_safe
def search(request: HttpRequest) -> HttpResponse:
    """Answer a question with the pictures that the user may see; with no question, the newest."""
    user = _user(request)
    scope = visible_to(user)
    form = SearchForm(request.GET, categories(scope))
    page = Page.asked(request.GET.get("page", ""))
    outcome = _outcome(form, page, user)
    asks = bool(form.cleaned_data.get("q"))
    hits = outcome.hits if outcome else ()
    context = {
        "form": form,
        "outcome": outcome,
        "asks": asks,
        "examples": () if asks or form.is_narrowed else _examples(),
        "page": page,
        "links": _links(request.GET, page, outcome),
        "with_scores": bool(form.cleaned_data.get("scores")),
        "is_empty": not hits and not scope.exists(),
        "may_add": _may(user, "mediasearch.add_asset"),
        "milliseconds": sum(outcome.timings.values()) if outcome else 0.0,
    }
    return render(request, "mediasearch/search.html", context)


@require_safe
def asset(request: HttpRequest, pk: int) -> HttpResponse:
    """Show one picture and all that is known of it."""
    found = _visible(request, pk)
    source = source_of(found)
    context = {
        "asset": found,
        "is_shown": found.mime_type in SHOWN_BY_BROWSERS,
        "edit_url": source.edit_url(found) if _may(_user(request), "mediasearch.change_asset") else "",
    }
    return render(request, "mediasearch/asset.html", context)


@require_safe
def thumbnail(request: HttpRequest, pk: int) -> HttpResponseBase:
    """Send the small picture."""
    found = _visible(request, pk)
    if not found.thumbnail:
        raise Http404("This image has no thumbnail yet.")
    headers = _headers(request, found, found.thumbnail)
    if known := _known(request, headers):
        return known
    try:
        with storage().open(found.thumbnail) as stream:
            return HttpResponse(stream.read(), content_type="image/webp", headers=headers)
    except OSError as error:
        return _unreadable(error)


@require_safe
def original(request: HttpRequest, pk: int) -> HttpResponseBase:
    """Send the file as it was uploaded; what is not surely a picture is only ever downloaded."""
    found = _visible(request, pk)
    is_picture = found.mime_type in MIME_TYPES.values()
    headers = _headers(request, found, f"{found.file_version} {found.content_hash}")
    if known := _known(request, headers):
        return known
    try:
        stream = source_of(found).open(found)
    except OSError as error:
        return _unreadable(error)
    return FileResponse(
        stream,
        content_type=found.mime_type if is_picture else "application/octet-stream",
        as_attachment=not is_picture,
        filename=_file_name(found),
        headers=headers,
    )


@dataclass(frozen=True, slots=True)
class Page:
    """One page of the hits that can be reached."""

    number: int
    size: int

    @classmethod
    def asked(cls, number: str) -> Page:
        """Read the number from an address; what is no number is the first page."""
        size = min(conf.settings().page_size, DEEPEST)
        last = -(-DEEPEST // size)
        asked = int(number) if number.isdecimal() and len(number) < 10 else 1
        return cls(min(max(asked, 1), last), size)

    @property
    def offset(self) -> int:
        return (self.number - 1) * self.size

    @property
    def limit(self) -> int:
        return min(self.size, DEEPEST - self.offset)


def categories(scope: AssetQuerySet) -> list[str]:
    """Return the categories in a scope, in order, with one look into the index for each of them."""
    try:
        sql, params = scope.order_by().values("category").query.get_compiler(scope.db).as_sql()
    except EmptyResultSet:
        return []
    visible = f"SELECT category FROM ({sql}) AS visible (category)"
    with connections[scope.db].cursor() as cursor:
        cursor.execute(
            f"WITH RECURSIVE found (category) AS (({visible} WHERE category > '' ORDER BY 1 LIMIT 1) UNION ALL"
            f" SELECT ({visible} WHERE category > found.category ORDER BY 1 LIMIT 1)"
            " FROM found WHERE found.category IS NOT NULL)"
            " SELECT category FROM found WHERE category IS NOT NULL LIMIT %s",
            (*params, *params, _MOST_CATEGORIES),
        )
        return [category for (category,) in cursor.fetchall()]


def _outcome(form: SearchForm, page: Page, user: Any) -> Outcome | None:
    if not form.is_valid():
        return None
    try:
        return engine.search(**form.question(), user=user, limit=page.limit, offset=page.offset).outcome
    except QueryError as error:
        form.add_error("q", str(error))
        return None


def _links(asked: QueryDict, page: Page, outcome: Outcome | None) -> dict[str, str]:
    """Return the addresses that the page leads to, without what is empty; "" where there is no such page."""
    seen = page.offset + len(outcome.hits) if outcome else 0
    more = outcome is not None and (
        outcome.total > seen or (not outcome.total_is_exact and len(outcome.hits) == page.limit)
    )
    pages = {"page": [str(page.number)]} if page.number > 1 else {}
    scores = {"scores": ["1"]} if asked.get("scores") else {}
    words, narrowed = _given(asked, "q"), _given(asked, "category", "tag", "after", "before")
    return {
        "first": _address(words | narrowed | scores),
        "previous": _address(words | narrowed | scores | {"page": [str(page.number - 1)]}) if page.number > 1 else "",
        "next": _address(words | narrowed | scores | {"page": [str(page.number + 1)]})
        if more and seen < DEEPEST
        else "",
        "scores": _address(words | narrowed | pages | ({} if scores else {"scores": ["1"]})),
        "anything": _address(words | scores),
        "is_deepest": "yes" if more and seen >= DEEPEST else "",
    }


def _given(asked: QueryDict, *names: str) -> dict[str, list[str]]:
    return {name: values for name in names if (values := [value for value in asked.getlist(name) if value])}


def _address(parameters: dict[str, list[str]]) -> str:
    query = QueryDict(mutable=True)
    for name, values in parameters.items():
        query.setlist(name, values)
    return f"?{query.urlencode()}"


def _examples() -> list[str]:
    """Return questions to try, in the reader's language where the active encoder reads it."""
    generation = Generation.objects.active()
    languages = generation.reads("image") if generation else None
    reads = languages is None or (get_language() or "en").partition("-")[0] in languages
    with override(get_language() if reads else "en"):
        return [gettext("a red car at night"), gettext("children playing by the sea"), gettext("a handwritten letter")]


def _user(request: HttpRequest) -> Any:
    return getattr(request, "user", None)


def _may(user: Any, permission: str) -> bool:
    return user is not None and bool(user.has_perm(permission))


def _visible(request: HttpRequest, pk: int) -> Asset:
    return get_object_or_404(visible_to(_user(request)).defer("text_vector", "ocr_words"), pk=pk)


def _headers(request: HttpRequest, found: Asset, version: str) -> dict[str, str]:
    """A file that is named by its content never changes; only what a visitor may see is kept by shared caches."""
    public = _user(request) is None or visible_to(None).filter(pk=found.pk).exists()
    named = bool(found.content_hash) and request.GET.get("v") == found.content_hash[:12]
    return {
        "Cache-Control": f"{'public' if public else 'private'}, "
        + (f"max-age={_A_YEAR}, immutable" if named else "no-cache"),
        "ETag": f'"{hashlib.sha256(version.encode()).hexdigest()[:32]}"',
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "default-src 'none'; sandbox",
    }


def _known(request: HttpRequest, headers: dict[str, str]) -> HttpResponseBase | None:
    """Return a "not modified" where the browser has this file already."""
    blank = HttpResponse(headers=headers)
    answer = get_conditional_response(request, etag=headers["ETag"], response=blank)
    return None if answer is blank else answer


def _unreadable(error: OSError) -> HttpResponse:
    if isinstance(error, FileNotFoundError):
        raise Http404("The storage has no such file.")
    return HttpResponse(status=503, headers={"Retry-After": "30", "Cache-Control": "no-store"})


def _file_name(found: Asset) -> str:
    if found.file:
        return str(found.file.name).rpartition("/")[2]
    return f"image-{found.pk}{mimetypes.guess_extension(found.mime_type) or ''}"
