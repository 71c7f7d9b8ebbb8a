"""How often one client may ask the search page.

django-ratelimit was looked at (4.1, 2023): it has no weights, answers 403 without Retry-After, and reads proxies from
settings of its own. Counting itself is two calls of Django's cache.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import wraps

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from mediasearch import conf, paging
from mediasearch.clients import client_of, is_behind_unnamed_proxy
from mediasearch.search import cache

logger = logging.getLogger(__name__)
View = Callable[[HttpRequest], HttpResponse]
PICTURE = 5
"""How many questions one with a new picture counts for: it is opened, and its pixels travel to an encoder."""
_proxy_warnings: set[str] = set()


def limited(view: View) -> View:
    """Have a view answer each client as often as MEDIASEARCH["RATE"] says, and with 429 beyond.

    Where the cache is down nothing is counted, and so nobody is refused.
    """

    @wraps(view)
    def answer(request: HttpRequest) -> HttpResponse:
        seconds = _seconds_to_wait(request)
        return _refusal(request, seconds) if seconds else view(request)

    return answer


def _seconds_to_wait(request: HttpRequest) -> int:
    """Count a request; return 0 where it may be answered, else the seconds until its client may ask again."""
    rate = conf.settings().rate
    if rate is None or (not _is_known(request) and _is_unnamed(request)):
        return 0
    now = time.time()
    name = cache.key("asked", client_of(request), str(int(now // rate.seconds)))
    weight = PICTURE if request.method == "POST" else 1
    number = cache.count(name, weight, rate.seconds)
    # The first is always answered, so that a rate below the weight of a picture does not forbid them.
    if number is None or number <= max(rate.number, weight):
        return 0
    return int(rate.seconds - now % rate.seconds) + 1


def _is_known(request: HttpRequest) -> bool:
    user = getattr(request, "user", None)
    return user is not None and bool(user.is_authenticated)


def _is_unnamed(request: HttpRequest) -> bool:
    """Return whether a proxy hides who asks, and say so once: all visitors together would be one client."""
    if not is_behind_unnamed_proxy(request):
        return False
    if not _proxy_warnings:
        _proxy_warnings.add("said")
        logger.warning(
            "A proxy stands before the site, so that visitors are not told apart and not limited: set"
            ' MEDIASEARCH["PROXIES"] to the number of proxies.',
            extra={"event": "proxy-unnamed"},
        )
    return True


def _refusal(request: HttpRequest, seconds: int) -> HttpResponse:
    """Return the page that says when to ask again, with all that was asked but a new picture."""
    asked = request.POST if request.method == "POST" else request.GET
    context = {"seconds": seconds, "words": asked.get("q", ""), "others": paging.hidden_fields(asked)}
    response = render(request, "mediasearch/limited.html", context, status=429)
    response.headers["Retry-After"] = str(seconds)
    response.headers["Cache-Control"] = "no-store"
    return response
