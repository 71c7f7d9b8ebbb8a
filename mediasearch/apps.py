"""How the app joins a Django project."""

from __future__ import annotations

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class MediaSearchConfig(AppConfig):
    name = "mediasearch"
    verbose_name = _("Media search")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from mediasearch import checks  # noqa: F401
        from mediasearch.indexing import receivers
        from mediasearch.sources import registry

        registry.autodiscover()
        receivers.connect()
