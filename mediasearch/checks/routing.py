"""What is wrong with the databases that a site's routers choose."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps import apps
from django.contrib.auth import get_user_model
from django.core.checks import CheckMessage, Error, register
from django.db import router


@register()
def check_routers(app_configs: Sequence[Any] | None, **_: Any) -> list[CheckMessage]:
    """E009: a router writes our rows to another database than the users' rows. Where it reads from is its own matter.

    Static, and so run by all commands: `migrate` would fail half-way, at the foreign key to the users.
    """
    users = get_user_model()
    home = router.db_for_write(users)
    models = apps.get_app_config("mediasearch").get_models()
    elsewhere = {model.__name__: using for model in models if (using := router.db_for_write(model)) != home}
    if not elsewhere:
        return []
    places = ", ".join(f'{name} to "{using}"' for name, using in sorted(elsewhere.items()))
    return [
        Error(
            f'A database router writes {places}, and {users._meta.label} to "{home}". Assets refer to users, and'
            " searches are one SQL statement with the tables of the site: all must be written to one database.",
            hint=f'Have db_for_write() in DATABASE_ROUTERS answer "{home}", or nothing, for the app mediasearch.'
            " A router that sends reads to a replica is fine: docs/deployment.md.",
            id="mediasearch.E009",
        )
    ]
