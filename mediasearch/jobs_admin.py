"""Jobs in the Django admin, and the status of indexing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Exists, OuterRef, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.text import Truncator
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from mediasearch.changelists import PlainListAdmin
from mediasearch.indexing import doorbell
from mediasearch.indexing.figures import ALARMS, Status
from mediasearch.indexing.status import status
from mediasearch.models import Generation, Job, Stage
from mediasearch.redaction import redacted
from mediasearch.sources.registry import visible_to

_LONGEST_SEARCH = 200
"""Characters: each word is two conditions more, and thousands of them took minutes over one job."""


@admin.register(Job)
class JobAdmin(PlainListAdmin):
    """What is owed, and what went wrong."""

    list_display = ("id", "stage", "asset_link", "state", "attempts", "short_error", "due_at")
    list_display_links = None
    list_filter = ("stage", "state")
    list_select_related = ("asset",)
    fields = ("stage", "asset_link", "state", "attempts", "reason", "due_at", "created_at", "finished_at")
    readonly_fields = ("asset_link", "reason")
    search_fields = ("asset__title", "error")
    search_help_text = _("Words of a title or of an error, among the images that you may see.")
    show_full_result_count = False
    ordering = ("-id",)
    actions = ("try_again",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Job]:
        """Return all jobs, each with whether this user may see its picture, and so be told what it is called."""
        visible = visible_to(request.user).filter(pk=OuterRef("asset_id"))
        jobs: QuerySet[Job] = super().get_queryset(request)
        return jobs.annotate(is_visible=Exists(visible))

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Job], search_term: str
    ) -> tuple[QuerySet[Job], bool]:
        """Search titles and errors of what may be seen: whether a word is found tells of it, too."""
        if len(search_term) > _LONGEST_SEARCH:
            said = gettext("A search among jobs has at most %(limit)d characters: shorten it.")
            self.message_user(request, said % {"limit": _LONGEST_SEARCH}, messages.WARNING)
            return queryset.none(), False
        found, duplicates = super().get_search_results(request, queryset, search_term)
        return found.filter(is_visible=True) if search_term.strip() else found, duplicates

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Job | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Job | None = None) -> bool:
        return False

    def has_view_permission(self, request: HttpRequest, obj: Job | None = None) -> bool:
        return super().has_view_permission(request, obj) or self.has_requeue_permission(request)

    def has_requeue_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("mediasearch.change_job")

    def get_urls(self) -> list[URLPattern]:
        page = path("status/", self.admin_site.admin_view(self.status_view), name="mediasearch_job_status")
        return [page, *super().get_urls()]

    def status_view(self, request: HttpRequest) -> HttpResponse:
        """Say how far indexing is, with the numbers of `mediasearch_status`."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        told = status()
        visible = set(visible_to(request.user).filter(pk__in=_shown_assets(told)).values_list("pk", flat=True))
        sees_all = request.user.has_perm("mediasearch.view_asset")
        context = {
            **self.admin_site.each_context(request),
            "title": gettext("Status of indexing"),
            "opts": self.opts,
            "told": told,
            "stages": [(Stage(s.stage).label, s) for s in told.stages],
            "generations": [(Generation.State(g.state).label, g) for g in told.generations],
            "alarms": [
                (
                    ALARMS[a.kind],
                    a.stage and Stage(a.stage).label,
                    a if sees_all else replace(a, detail=redacted(a.detail)),
                )
                for a in told.alarms
            ],
            "failures": [(f.error if f.example in visible else redacted(f.error), f) for f in told.failures],
            "visible": visible,
        }
        return TemplateResponse(request, "admin/mediasearch/job/status.html", context)

    @admin.display(description=_("image"), ordering="asset")
    def asset_link(self, job: Job) -> str:
        if not _is_visible(job):
            return gettext("image %(number)d") % {"number": job.asset_id}
        address = reverse("admin:mediasearch_asset_change", args=[job.asset_id], current_app=self.admin_site.name)
        return format_html('<a href="{}">{}</a>', address, Truncator(str(job.asset)).chars(60))

    @admin.display(description=_("error"))
    def reason(self, job: Job) -> str:
        return job.error if _is_visible(job) else redacted(job.error, job.asset)

    @admin.display(description=_("error"))
    def short_error(self, job: Job) -> str:
        return Truncator(self.reason(job)).chars(160)

    @admin.action(description=_("Try again"), permissions=["requeue"])
    def try_again(self, request: HttpRequest, queryset: QuerySet[Job]) -> None:
        """Make jobs due; one that a worker is at stays with it."""
        count = Job.objects.filter(pk__in=queryset.values("pk")).exclude(state=Job.State.RUNNING).requeue()
        doorbell.ring_on_commit()
        said = ngettext("%(count)d job will be tried again.", "%(count)d jobs will be tried again.", count)
        self.message_user(request, said % {"count": count}, messages.SUCCESS)


def _is_visible(job: Job) -> bool:
    return job.is_visible  # type: ignore[attr-defined,no-any-return]


def _shown_assets(told: Status) -> Iterable[int]:
    return {pk for failure in told.failures for pk in (failure.example, *failure.assets)}
