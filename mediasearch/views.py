"""The pages that visitors see: a search, a picture, and the files of both."""

from __future__ import annotations

import hashlib
import mimetypes
from typing import Any

from django.http import FileResponse, Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, render
from django.utils.cache import get_conditional_response
from django.utils.translation import get_language, gettext, override
from django.views.decorators.csrf import csrf_protect
from django.views.decorators.http import require_http_methods, require_safe

from mediasearch import asking, paging
from mediasearch.asking import SearchForm
from mediasearch.categories import visible_categories
from mediasearch.exceptions import PictureRefused, QueryError
from mediasearch.features import backends
from mediasearch.features.images import MIME_TYPES
from mediasearch.forms import sentence
from mediasearch.limits import limited
from mediasearch.models import Asset, Embedding, Generation, storage
from mediasearch.paging import Page
from mediasearch.querysets import AssetQuerySet
from mediasearch.search import engine
from mediasearch.search.results import Outcome
from mediasearch.sources.registry import name_of, source_of, visible_to

SHOWN_BY_BROWSERS = {"image/jpeg", "image/png", "image/gif", "image/webp", "image/avif", "image/bmp"}
_A_YEAR = 31_536_000
_LONGEST_PK = 18


@require_http_methods(["GET", "HEAD", "POST"])
@limited
@csrf_protect
def search(request: HttpRequest) -> HttpResponse:
    """Answer a question with the pictures that the user may see; with no question, the newest.

    A picture to search with is posted. The pages that follow name what was kept of it, or the asset that it is.
    """
    user = _user(request)
    scope = visible_to(user)
    asked = request.POST if request.method == "POST" else request.GET
    liked = _liked(asked.get("like", ""), scope)
    form = SearchForm(asked, visible_categories(user), request.FILES, liked, name_of(user))
    page = Page.asked(request.GET.get("page", ""))
    outcome = _outcome(form, page, user)
    shown = asking.shown(form, outcome)
    asks = bool(form.cleaned_data.get("q") or shown)
    hits = outcome.hits if outcome else ()
    timings = outcome.timings if outcome and _is_staff(user) else {}
    links = paging.links(asked, page, outcome, shown.parameters if shown else {})
    context = {
        "form": form,
        "outcome": outcome,
        "picture": shown,
        "uploading": asking.UPLOADING,
        "takes_pictures": backends.query_encoder().pictures,
        "address": links["first"] if request.method == "POST" else "",
        "asks": asks,
        "examples": () if asks or form.is_narrowed else _examples(),
        "page": page,
        "links": links,
        "with_scores": bool(form.cleaned_data.get("scores")),
        "is_empty": not hits and not scope.exists(),
        "may_add": _may(user, "mediasearch.add_asset"),
        "timings": timings,
        "milliseconds": sum(timings.values()),
    }
    return render(request, "mediasearch/search.html", context)


@require_safe
def asset(request: HttpRequest, pk: int) -> HttpResponse:
    """Show one picture and all that is known of it."""
    found = _visible(request, pk)
    source = source_of(found)
    vectors = Embedding.objects.filter(asset=found, generation__state=Generation.State.ACTIVE, image__isnull=False)
    context = {
        "asset": found,
        "is_shown": found.mime_type in SHOWN_BY_BROWSERS,
        "has_vector": vectors.exists(),
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


def _outcome(form: SearchForm, page: Page, user: Any) -> Outcome | None:
    if not form.is_valid():
        return None
    try:
        return engine.search(**form.question(), user=user, limit=page.limit, offset=page.offset).outcome
    except PictureRefused as error:
        form.add_error("upload", sentence(error))
    except QueryError as error:
        form.add_error("q", str(error))
    return None


def _liked(pk: str, scope: AssetQuerySet) -> Asset | None:
    """Return the asset that a search is to be like; what may not be seen does not exist."""
    if not pk:
        return None
    if not pk.isdecimal() or len(pk) > _LONGEST_PK:
        raise Http404("There is no such image.")
    return get_object_or_404(scope.defer("text_vector", "ocr_words"), pk=int(pk))


def _examples() -> list[str]:
    """Return questions to try, in the reader's language where the active encoder reads it."""
    generation = Generation.objects.active()
    languages = generation.reads("image") if generation else None
    reads = languages is None or (get_language() or "en").partition("-")[0] in languages
    with override(get_language() if reads else "en"):
        return [gettext("a red car at night"), gettext("children playing by the sea"), gettext("a handwritten letter")]


def _user(request: HttpRequest) -> Any:
    return getattr(request, "user", None)


def _is_staff(user: Any) -> bool:
    """Timings are for staff: they tell whether somebody asked the same a little earlier."""
    return bool(getattr(user, "is_active", False) and getattr(user, "is_staff", False))


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
