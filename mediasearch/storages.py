"""A storage for files that have no address."""

from __future__ import annotations

from django.core.files.storage import FileSystemStorage


class PrivateStorage(FileSystemStorage):
    """Files of a folder that no web server serves: only the site's own pages send them, and ask for permission first.

    Options are those of Django's FileSystemStorage; `location` should be outside of MEDIA_ROOT where that is served.
    """

    def url(self, name: str | None) -> str:
        """Raises ValueError, as Django documents for files without an address."""
        raise ValueError(f"{name} has no address: it is kept in a private storage. Link to mediasearch:original.")
