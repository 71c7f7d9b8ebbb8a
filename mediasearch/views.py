"""The pages that visitors see: a search, a picture, and the files of both."""

from __future__ import annotations

import hashlib
import logging
from typing import Any

from django.core.exceptions import ValidationError
from django.http import FileResponse, Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, render
from django.utils.cache import get_conditional_response
from django.utils.translation import get_language, gettext, override
from django.views.decorators.csrf import csrf_protect
from django.views.decorators.http import require_http_methods, require_safe

from mediasearch import asking, naming, paging
from mediasearch.asking import SearchForm
from mediasearch.categories import visible_categories
from mediasearch.clients import client_of
from mediasearch.exceptions import (
    Busy,
    FileMissing,
    MediaSearchError,
    PictureRefused,
    QueryError,
    Troublesome,
    Unavailable,
)
from mediasearch.features import backends
from mediasearch.features.disclosure import allowed as disclosed
from mediasearch.features.images import MIME_TYPES
from mediasearch.forms import sentence
from mediasearch.limits import limited
from mediasearch.models import Asset, Embedding, Generation, storage
from mediasearch.paging import Page
from mediasearch.querysets import AssetQuerySet
from mediasearch.search import engine
from mediasearch.search.results import Outcome
from mediasearch.sources.files import open_original
from mediasearch.sources.registry import name_of, source_of, visible_to

logger = logging.getLogger(__name__)

SHOWN_BY_BROWSERS = {"image/jpeg", "image/png", "image/gif", "image/webp", "image/avif", "image/bmp"}
_UNCACHED = {"Cache-Control": "no-store"}
_A_YEAR = 31_536_000
_SHARED_SECONDS = 240
"""How long others than the browser may keep what is public: it may be made private, which nobody tells them."""
_LONGEST_PK = 18
_BUSY, _RETRY_AFTER = "busy", 2
"""The code of the error, and after how many seconds to try again, while others' pictures are being opened."""


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
    outcome = _outcome(form, page, user, client_of(request))
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
    answer = render(request, "mediasearch/search.html", context)
    if form.has_error("upload", _BUSY):
        answer.status_code, answer.headers["Retry-After"] = 503, str(_RETRY_AFTER)
    return answer


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
    """Send the file, to most without what it says of places and devices: see `open_original`.

    What is not surely a picture is only ever downloaded. A copy that only some may have is in no cache but their own.
    """
    found, user = _visible(request, pk), _user(request)
    is_picture = found.mime_type in MIME_TYPES.values()
    untouched = source_of(found).sends_untouched(found, user)
    extent = "untouched" if untouched else f"cleared {disclosed.VERSION}"
    headers = _headers(request, found, f"{found.file_version} {found.content_hash} {extent}")
    if untouched:
        headers["Cache-Control"] = "private, no-cache"
    if known := _known(request, headers):
        return known
    try:
        stream = open_original(found, user)
    except FileMissing:
        raise Http404("The storage has no such file.") from None
    except (Unavailable, Troublesome):
        return _later()
    except MediaSearchError as error:
        return _withheld(error)
    return FileResponse(
        stream,
        content_type=found.mime_type if is_picture else "application/octet-stream",
        as_attachment=not is_picture,
        filename=_file_name(found),
        headers=headers,
    )


def _outcome(form: SearchForm, page: Page, user: Any, client: str) -> Outcome | None:
    if not form.is_valid():
        return None
    try:
        results = engine.search(**form.question(), user=user, client=client, limit=page.limit, offset=page.offset)
        return results.outcome
    except PictureRefused as error:
        form.add_error("upload", sentence(error))
    except Busy as error:
        form.add_error("upload", ValidationError(sentence(error), _BUSY))
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
    """Return the headers of a file that a visitor may see.

    Only what everybody may see is kept by shared caches, and not for long. A private picture stays with the browser,
    which may keep it for ever where the address names its content.
    """
    public = _user(request) is None or visible_to(None).filter(pk=found.pk).exists()
    named = bool(found.content_hash) and request.GET.get("v") == found.content_hash[:12]
    kept = f"max-age={_SHARED_SECONDS}" if public else f"max-age={_A_YEAR}, immutable"
    return {
        "Cache-Control": f"{'public' if public else 'private'}, {kept if named else 'no-cache'}",
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
    return _later()


def _later() -> HttpResponse:
    return HttpResponse(status=503, headers={"Retry-After": "30", **_UNCACHED})


def _withheld(error: MediaSearchError) -> HttpResponse:
    """Refuse a file whose metadata can't be cleared, to a user who may not have all of it."""
    logger.warning("A file is not sent: %s", error, extra={"event": "withheld", "fault": type(error).__name__})
    sentence = gettext(
        "This file may say where and with which device the picture was taken, and that could not be taken out of it."
        " Only its owner and those who are permitted may download it."
    )
    return HttpResponse(sentence, status=403, content_type="text/plain; charset=utf-8", headers=_UNCACHED)


def _file_name(found: Asset) -> str:
    return naming.download_name(found.title, found.file.name or f"image-{found.pk}", found.mime_type)
