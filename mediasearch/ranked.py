"""A list of the admin that is searched as the search page is: by words and by a picture, the best first."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.views.main import ORDER_VAR
from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import PermissionDenied
from django.db.models import BigIntegerField, F, Func, QuerySet, Value
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST

from mediasearch.asking import GONE, PictureForm, Shown, inline
from mediasearch.changelists import PlainListAdmin
from mediasearch.clients import client_of
from mediasearch.exceptions import Busy, PictureRefused, QueryError, Unavailable
from mediasearch.features import backends
from mediasearch.forms import sentence
from mediasearch.models import Asset, Generation
from mediasearch.search import encode, engine, pictures, shares
from mediasearch.search.results import DEEPEST
from mediasearch.sources.registry import name_of
from mediasearch.templatetags.mediasearch import signal

PARAMETER = "picture"


class PictureFilter(admin.SimpleListFilter):
    """By which picture the list is ranked. It leaves nothing out, and is how the ranking is ended."""

    title = _("picture")
    parameter_name = PARAMETER

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        key = request.GET.get(PARAMETER, "")
        kept = pictures.recall(key, name_of(request.user))
        return [(key, kept[1])] if kept else []

    def queryset(self, request: HttpRequest, queryset: QuerySet[Asset]) -> QuerySet[Asset]:
        return queryset


class RankedAdmin(PlainListAdmin):
    """Assets that are searched by the engine. `list_filter` must hold `PictureFilter`."""

    class Media:
        css = {"all": ["mediasearch/admin.css"]}

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Asset], search_term: str
    ) -> tuple[QuerySet[Asset], bool]:
        """Search as the search page does, among the filtered pictures, the best first unless a column is sorted."""
        key = request.GET.get(PARAMETER, "")
        kept = pictures.recall(key, name_of(request.user))
        if key and not kept:
            _tell(request, gettext(GONE))
        if not search_term.strip() and not kept:
            return queryset, False
        try:
            scope = queryset.prefetch_related(None)
            image, client = kept and kept[0], client_of(request)
            outcome = engine.search(search_term, image=image, scope=scope, client=client, limit=DEEPEST).outcome
        except QueryError as error:
            _tell(request, str(error))
            return queryset.none(), False
        for notice in outcome.notices:
            _tell(request, f"{signal(notice.signal)}: {notice.reason}")
        ids = [hit.asset.pk for hit in outcome.hits]
        found = queryset.filter(pk__in=ids)
        if request.GET.get(ORDER_VAR):
            return found, False
        ranking = Value(ids, output_field=ArrayField(BigIntegerField()))
        return found.order_by(Func(ranking, F("pk"), function="array_position", output_field=BigIntegerField())), False

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        context = {
            "picture": _shown(request),
            "without_picture": _address(request, None),
            "picture_form": PictureForm() if backends.query_encoder().pictures else None,
        }
        return super().changelist_view(request, context | (extra_context or {}))

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(require_POST(self.picture_view))
        return [path("with-picture/", view, name="mediasearch_asset_with_picture"), *super().get_urls()]

    def picture_view(self, request: HttpRequest) -> HttpResponse:
        """Keep a picture and show the list ranked by it, under the filters that the address holds."""
        if not self.has_view_or_change_permission(request):
            raise PermissionDenied
        key = _keep(request)
        list_url = reverse("admin:mediasearch_asset_changelist", current_app=self.admin_site.name)
        return HttpResponseRedirect(list_url + _address(request, key))


def _keep(request: HttpRequest) -> str | None:
    """Return the key of the picture that was sent; without one, say why."""
    form, generation = PictureForm(request.POST, request.FILES), Generation.objects.active()
    if not form.is_valid():
        messages.error(request, " ".join(str(error) for error in form.errors["upload"]))
        return None
    upload = form.cleaned_data["upload"]
    try:
        if generation is None:
            raise Unavailable(gettext("No picture has been encoded yet."))
        with shares.asking(client_of(request)):
            seen = pictures.look(pictures.take(upload), generation)
        return pictures.keep(seen, upload.name, name_of(request.user))
    except (PictureRefused, Busy) as refusal:
        messages.error(request, sentence(refusal))
    except QueryError as error:
        messages.error(request, str(error))
    except Unavailable as error:
        messages.error(request, encode.reason_of(error))
    return None


def _shown(request: HttpRequest) -> Shown | None:
    kept = pictures.recall(request.GET.get(PARAMETER, ""), name_of(request.user))
    return Shown(kept[1], inline(kept[0])) if kept else None


def _address(request: HttpRequest, key: str | None) -> str:
    """Return the query string of the list as it is, with another picture or none."""
    query = request.GET.copy()
    for name in (PARAMETER, "p"):
        query.pop(name, None)
    if key:
        query[PARAMETER] = key
    return f"?{query.urlencode()}"


def _tell(request: HttpRequest, said: str) -> None:
    """Warn once a page: the admin searches anew for every filter that shows counts."""
    told: set[str] = request.__dict__.setdefault("_mediasearch_told", set())
    if said not in told:
        told.add(said)
        messages.warning(request, said)
