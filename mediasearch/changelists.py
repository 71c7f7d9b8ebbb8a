"""Lists of the admin, for whatever their addresses hold."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse

_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


class PlainListAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """An admin whose list is never filtered by NUL characters: PostgreSQL has no place for them, and Django asks it."""

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        if any("\x00" in value for values in request.GET.lists() for value in values[1]):
            query = request.GET.copy()
            for name, values in request.GET.lists():
                query.setlist(name, [str(value).replace("\x00", _REPLACEMENT) for value in values])
            request.GET = query  # type: ignore[assignment]
        return super().changelist_view(request, extra_context)
