"""Pictures, jobs and generations in the Django admin."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.widgets import AdminTextareaWidget
from django.core.exceptions import PermissionDenied
from django.db.models import Prefetch, Q, QuerySet, TextField
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import NoReverseMatch, URLPattern, path, reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import mark_safe
from django.utils.text import Truncator
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from mediasearch import forms
from mediasearch.changelists import PlainListAdmin
from mediasearch.exceptions import ImproperlySet
from mediasearch.indexing import ledger
from mediasearch.jobs_admin import JobAdmin as JobAdmin
from mediasearch.models import EMBEDS, LIBRARY, Asset, Generation, Job, Pause, Stage
from mediasearch.querysets import settled_key
from mediasearch.ranked import PictureFilter, RankedAdmin
from mediasearch.sources.registry import source_of
from mediasearch.templatetags.mediasearch import described, grouped, megabytes
from mediasearch.templatetags.mediasearch import thumbnail as thumbnail_of

_LIST_PIXELS, _PREVIEW_PIXELS = 72, 320
_CURRENT_JOBS = Q(generation=None) | Q(generation__state=Generation.State.ACTIVE)
_OPEN = (Job.State.PENDING, Job.State.RUNNING)


class IndexingFilter(admin.SimpleListFilter):
    """Which pictures still wait, and which failed."""

    title = _("indexing")
    parameter_name = "indexing"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("waiting", _("waiting")), ("failed", _("failed"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Asset]) -> QuerySet[Asset]:
        jobs = Job.objects.filter(_CURRENT_JOBS)
        if self.value() == "waiting":
            return queryset.filter(pk__in=jobs.filter(state__in=_OPEN).values("asset"))
        if self.value() == "failed":
            return queryset.filter(pk__in=jobs.filter(state=Job.State.FAILED).values("asset"))
        return queryset


@admin.register(Asset)
class AssetAdmin(RankedAdmin):
    """The library; pictures of other sources can be looked at here, and are changed where they live."""

    form = forms.AssetForm
    list_display = ("preview", "name", "category", "is_public", "indexing", "created_at")
    list_display_links = ("preview", "name")
    list_filter = (PictureFilter, IndexingFilter, "category", "is_public", "created_at")
    list_per_page = 50
    search_fields = ("title",)
    search_help_text = _("Say what the picture shows, or words of its title, tags, description, or written in it.")
    show_full_result_count = False
    raw_id_fields = ("owner",)
    formfield_overrides = {TextField: {"widget": AdminTextareaWidget(attrs={"rows": 3})}}
    actions = ("index_again",)
    readonly_fields = ("picture", "measures", "content_hash", "ocr_text", "jobs_of", "origin", "created_at")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Asset]:
        jobs = Job.objects.filter(_CURRENT_JOBS).order_by("pk")
        found = super().get_queryset(request).defer("text_vector", "ocr_words")
        return found.prefetch_related(Prefetch("jobs", jobs, to_attr="current_jobs"))

    def get_fieldsets(self, request: HttpRequest, obj: Asset | None = None) -> Any:
        changes = self.has_change_permission(request, obj) if obj else True
        own: list[Any] = ["file"] if changes else []
        about = ("title", "alt_text", "caption", ("category", "tags"), ("taken_at", "language"))
        sharing = (_("Rights"), {"fields": ("is_public", "owner", "copyright")})
        if obj is None:
            return [(None, {"fields": [*own, *about]}), sharing]
        machine = ("origin", "created_at", "measures", "content_hash", "ocr_text")
        return [
            (None, {"fields": ["picture", *own, *about]}),
            sharing,
            (_("Indexing"), {"fields": ("jobs_of",)}),
            (_("What the machine knows"), {"fields": machine, "classes": ("collapse",)}),
        ]

    def has_change_permission(self, request: HttpRequest, obj: Asset | None = None) -> bool:
        """A picture of another source is changed there: what is changed here would be overwritten."""
        return super().has_change_permission(request, obj) and (obj is None or obj.source == LIBRARY)

    def has_delete_permission(self, request: HttpRequest, obj: Asset | None = None) -> bool:
        allowed = super().has_delete_permission(request, obj)
        return allowed and (obj is None or obj.source == LIBRARY or not _is_registered(obj))

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Whoever may delete a picture may delete what is owed to it."""
        listed, counts, needed, protected = super().get_deleted_objects(objs, request)
        return listed, counts, {name for name in needed if name != Job._meta.verbose_name}, protected

    def save_model(self, request: HttpRequest, obj: Asset, form: Any, change: bool) -> None:
        if not change and obj.owner_id is None:
            obj.owner_id = request.user.pk
        super().save_model(request, obj, form, change)

    def view_on_site(self, obj: Asset) -> str | None:
        return _address("mediasearch:asset", obj.pk)

    # The list

    @admin.display(description=_("preview"))
    def preview(self, asset: Asset) -> str:
        return _image(asset, _LIST_PIXELS)

    @admin.display(description=_("title"), ordering="title")
    def name(self, asset: Asset) -> str:
        return Truncator(str(asset)).chars(80)

    @admin.display(description=_("indexing"))
    def indexing(self, asset: Asset) -> str:
        """Say in a word how far indexing is, and why where it failed."""
        jobs: list[Job] = asset.current_jobs  # type: ignore[attr-defined]
        failed = [job for job in jobs if job.state == Job.State.FAILED]
        if failed:
            reasons = "; ".join(dict.fromkeys(job.error for job in failed))
            short = Truncator(reasons).chars(60)
            return format_html('<span title="{}">{}: {}</span>', reasons, gettext("failed"), short)
        waiting = sum(job.state in _OPEN for job in jobs)
        if waiting or not (jobs or asset.settled):
            return gettext("waiting")
        return gettext("done")

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        pauses = [(pause.get_stage_display(), pause.reason) for pause in Pause.objects.current()]
        return super().changelist_view(request, {"pauses": pauses, **(extra_context or {})})

    @admin.action(description=_("Index again"), permissions=["change"])
    def index_again(self, request: HttpRequest, queryset: QuerySet[Asset]) -> None:
        chosen = list(queryset.prefetch_related(None))
        ledger.reindex(chosen)
        count = len(chosen)
        said = ngettext("%(count)d image will be indexed again.", "%(count)d images will be indexed again.", count)
        self.message_user(request, said % {"count": count}, messages.SUCCESS)

    # One picture

    @admin.display(description=_("picture"))
    def picture(self, asset: Asset) -> str:
        shown = _image(asset, _PREVIEW_PIXELS)
        address = _address("mediasearch:original", asset.pk)
        return format_html('<a href="{}">{}</a>', address, shown) if address else shown

    @admin.display(description=_("size"))
    def measures(self, asset: Asset) -> str:
        if not asset.width:
            return "-"
        pixels = f"{grouped(asset.width)} × {grouped(asset.height)}"
        return f"{pixels}, {asset.mime_type}, {megabytes(asset.byte_size or 0)}"

    @admin.display(description=_("belongs to"))
    def origin(self, asset: Asset) -> str:
        if not _is_registered(asset):
            return gettext("%(source)s, which is not registered: delete this image, or register its source.") % {
                "source": asset.source
            }
        source = source_of(asset)
        label = source.verbose_name or source.slug
        address = "" if asset.source == LIBRARY else source.edit_url(asset)
        return format_html('<a href="{}">{}</a>', address, label) if address else label

    @admin.display(description=_("stages"))
    def jobs_of(self, asset: Asset) -> str:
        jobs: list[Job] = asset.current_jobs  # type: ignore[attr-defined]
        rows: list[tuple[Any, Any, str]] = [
            (job.get_stage_display(), job.get_state_display(), f" ({job.error})" if job.error else "") for job in jobs
        ]
        active = Generation.objects.active()
        keys = {settled_key(stage, active.pk if active and stage in EMBEDS else None): stage for stage in Stage}
        pruned = [stage for key, stage in keys.items() if key in asset.settled]
        rows += [
            (stage.label, Job.State.DONE.label, "") for stage in pruned if stage not in {job.stage for job in jobs}
        ]
        return format_html_join(mark_safe("<br>"), "{}: {}{}", rows) or "-"

    # Several pictures at once

    def get_urls(self) -> list[URLPattern]:
        upload = path("upload/", self.admin_site.admin_view(self.upload_view), name="mediasearch_asset_upload")
        return [upload, *super().get_urls()]

    def upload_view(self, request: HttpRequest) -> HttpResponse:
        """Take several files; the good ones are stored, and each of the others is named with its reason."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        form = forms.UploadForm(request.POST or None, request.FILES or None)
        if request.method == "POST" and form.is_valid():
            assets, refused = form.save(request.user)
            for asset in assets:
                self.log_addition(request, asset, [{"added": {}}])
            if assets:
                self.message_user(request, forms.added(len(assets)), messages.SUCCESS)
            for sentence in refused:
                self.message_user(request, sentence, messages.ERROR)
            name = "mediasearch_asset_changelist" if assets else "mediasearch_asset_upload"
            return HttpResponseRedirect(reverse(f"admin:{name}", current_app=self.admin_site.name))
        context = {
            **self.admin_site.each_context(request),
            "title": gettext("Upload images"),
            "opts": self.opts,
            "form": form,
        }
        return TemplateResponse(request, "admin/mediasearch/asset/upload.html", context)


@admin.register(Generation)
class GenerationAdmin(PlainListAdmin):
    """Which encoders made the vectors; `manage.py mediasearch_reindex` makes another generation."""

    list_display = ("id", "state", "fingerprint", "dimensions", "caption_fingerprint", "created_at", "activated_at")
    list_filter = ("state",)
    ordering = ("-id",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Generation | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Generation | None = None) -> bool:
        return False


def _image(asset: Asset, longest: int) -> str:
    if not _is_registered(asset):
        return "-"
    small = thumbnail_of(asset, longest)
    if not small.url:
        return gettext("no preview")
    return format_html(
        '<img src="{}" alt="{}" width="{}" height="{}" loading="lazy">',
        small.url,
        described(asset),
        str(small.width),
        str(small.height),
    )


def _is_registered(asset: Asset) -> bool:
    try:
        source_of(asset)
    except ImproperlySet:
        return False
    return True


def _address(name: str, pk: int) -> str:
    """Return an address, or "" where the site has not included those URLs."""
    try:
        return reverse(name, args=[pk])
    except NoReverseMatch:
        return ""
