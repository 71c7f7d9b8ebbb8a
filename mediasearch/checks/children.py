"""What the processes that open files could still do here if a file took one over."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.core.checks import CheckMessage, Warning, register

from mediasearch.exceptions import ImproperlySet, MediaSearchError
from mediasearch.features import opener
from mediasearch.features.exposure import EXPOSURES


@register(deploy=True)
def check_children(app_configs: Sequence[Any] | None, **_: Any) -> list[CheckMessage]:
    """W013: this system can't confine the processes that open files; a real one of each kind has tried."""
    try:
        exposures = opener.exposures()
    except (ImproperlySet, MediaSearchError) as error:
        hint = "Correct what the sentence names; files can't be opened until then."
        return [Warning(f"The process that opens files does not start: {error}", hint=hint, id="mediasearch.W013")]
    finally:
        opener.close()
    if not exposures:
        return []
    could = "; ".join(EXPOSURES[name][0] for name in EXPOSURES if name in exposures)
    return [
        Warning(
            f"A malicious file that takes over the process that opens it could {could}.",
            hint="Run on Linux 6.7 or newer with Landlock, and let the container use Landlock and seccomp:"
            " docs/security.md has what each kernel can do.",
            id="mediasearch.W013",
        )
    ]
