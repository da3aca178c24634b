"""``{% load redis_optimizer %}{% health_strip %}``: the state of the site, on its pages."""

import functools
import logging
from datetime import UTC, datetime
from typing import Any, Final

from django import template
from django.apps import apps
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils.timezone import localtime
from django.utils.translation import gettext, pgettext

from redis_optimizer.conf import get_settings
from redis_optimizer.health import Status, Verdict, begin_verdict, peek_verdict
from redis_optimizer.health.audience import Audience, audience
from redis_optimizer.health.lifetimes import lifetimes
from redis_optimizer.internals import leave_out_of_cache

__all__ = ["health_strip", "register"]

logger: Final = logging.getLogger(__name__)
register: Final = template.Library()

STALE_AFTER: Final = 2.5
"""Intervals between two polls after which a state is shown as out of date."""

MISSED: Final = 1.5
"""Those that it may be late besides, where the server keeps a verdict for longer than that."""


@register.inclusion_tag("redis_optimizer/health_strip.html", takes_context=True)
def health_strip(context: template.Context) -> dict[str, Any]:
    """Show the state of the site, and keep it up to date where there is JavaScript.

    The page shows what is known already and waits for no check. Staff see which checks are not OK.

    Raises:
        ImproperlyConfigured: the template has no request, or the endpoints have no URL.
    """
    who = _audience(_request(context))
    check_files()
    poll = get_settings().HEALTH_POLL_INTERVAL
    kept_for = lifetimes("health", Status.OK)[who]
    stale_after = max(poll * STALE_AFTER, kept_for + poll * MISSED)
    words = {
        Status.OK: pgettext("health", "OK"),
        Status.DEGRADED: pgettext("health", "degraded"),
        Status.FAILING: pgettext("health", "failing"),
        "unknown": gettext("not known yet"),
        # Translators: {state} is one of the words above.
        "stale": gettext("out of date, last known: {state}"),
    }
    verdict = _peek(who)
    strip = {
        "url": _url(),
        "words": words,
        # Numbers as text: a template would write them as the page's language does.
        "poll": f"{poll:g}",
        "stale_after": f"{stale_after:g}",
        "csp_nonce": context.get("csp_nonce"),
    }
    if verdict is None:
        return strip | {"state": "unknown", "text": words["unknown"]}
    report = verdict.report
    names = ""
    if who is Audience.STAFF:
        bad = [result.name for result in report.results if result.status is not Status.OK]
        names = ", ".join(bad)
    text = f"{words[report.status]}: {names}" if names else words[report.status]
    is_stale = verdict.age > stale_after
    return strip | {
        "status": report.status,
        "state": "stale" if is_stale else report.status,
        "names": names,
        "text": words["stale"].replace("{state}", text) if is_stale else text,
        "age": f"{verdict.age:.0f}",
        "checked_at": localtime(datetime.fromtimestamp(report.checked_at, UTC)),
    }


def _request(context: template.Context) -> HttpRequest:
    # A RequestContext has it even where no context processor puts it into the template.
    request = context.get("request") or getattr(context, "request", None)
    if request is None:
        raise ImproperlyConfigured(
            "{% health_strip %} needs the request. Render the template with it: "
            'render(request, "page.html"), or template.render(context, request).'
        )
    return request  # type: ignore[no-any-return]


def _audience(request: HttpRequest) -> Audience:
    """Return who asks, and have the page say that it depends on that."""
    who = audience(request)
    if settings.SESSION_COOKIE_NAME in request.COOKIES and hasattr(request, "session"):
        # Who sends a known cookie is recognised without the session, and Django says
        # `Vary: Cookie` for a session that was used. Else a cache would show others the page.
        request.session.accessed = True
    if who is Audience.STAFF:  # cache_page keeps a page before Django says so
        leave_out_of_cache(request)
    return who


def _url() -> str:
    try:
        return reverse("redis_optimizer:health")
    except NoReverseMatch as error:
        raise ImproperlyConfigured(
            "{% health_strip %} asks redis_optimizer:health how the site is, and that has no URL. "
            'Add path("", include("redis_optimizer.urls")) to the urlpatterns.'
        ) from error


@functools.cache
def check_files() -> None:
    """Say, once, that the strip may come without its style and its script."""
    if not apps.is_installed("django.contrib.staticfiles"):
        logger.warning(
            "{%% health_strip %%} needs its style and its script. Add 'django.contrib.staticfiles' "
            "to INSTALLED_APPS, if nothing else serves redis_optimizer/ below STATIC_URL (%r).",
            settings.STATIC_URL,
        )


def _peek(who: Audience) -> Verdict | None:
    """Return what is known; what is not, or not any more, is being looked for from now on."""
    try:
        verdict = peek_verdict(audience=who)
        begin_verdict(audience=who)
    except Exception:
        # A page that is about something else is shown nevertheless.
        logger.exception("The health strip could not learn the state of the site.")
        return None
    return verdict
