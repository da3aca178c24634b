"""JSON for other programs."""

from collections import Counter

from django.http import HttpRequest, JsonResponse
from django.views.decorators.http import require_safe

from redis_optimizer.decorators import cached_health, cached_status

from . import readings
from .health import judge


def asked(request: HttpRequest) -> int | None:
    """Return the organisation that `?org=<id>` asks for."""
    text = request.GET.get("org", "")
    return int(text) if text.isascii() and text.isdigit() else None


def version(request: HttpRequest) -> tuple[str, ...]:
    """Return what differs after each change of what is asked for."""
    pk = asked(request)
    return () if pk is None else readings.version(pk)


# The same for everybody; what changes is shown at once, as on the pages.
@require_safe
@cached_status(ttl=300, params=("org",), vary=version)
def integrations_status(request: HttpRequest) -> JsonResponse:
    """Return the integrations of `?org=<id>`: 400 without a number, 404 when nobody has it."""
    pk = asked(request)
    if pk is None:
        return JsonResponse({"error": "org must be the id of an organisation"}, status=400)
    name = readings.organisations().get(pk)
    if name is None:
        return JsonResponse({"error": "no such organisation"}, status=404)
    statuses = readings.statuses(pk)
    return JsonResponse(
        {
            "organisation": {"id": pk, "name": name},
            "totals": Counter(each["state"] for each in statuses),
            "integrations": statuses,
        }
    )


@require_safe
@cached_health
def system_health(request: HttpRequest) -> JsonResponse:
    """Return the verdict on the system: 200 when all is well, else 503."""
    verdict = judge()
    words = {True: "ok", False: "failing"}
    return JsonResponse(
        {
            "status": words[verdict["ok"]],
            "checks": {"database": words[verdict["database"]], "cache": words[verdict["cache"]]},
        },
        status=200 if verdict["ok"] else 503,
    )
