"""JSON for other programs."""

from collections import Counter

from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from . import readings
from .health import health


@require_safe
@never_cache
def integrations_status(request: HttpRequest) -> JsonResponse:
    """Return the integrations of `?org=<id>`: 400 without a number, 404 when nobody has it."""
    asked = request.GET.get("org", "")
    if not (asked.isascii() and asked.isdigit()):
        return JsonResponse({"error": "org must be the id of an organisation"}, status=400)
    pk = int(asked)
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
@never_cache
def system_health(request: HttpRequest) -> JsonResponse:
    """Return the verdict on the system: 200 when all is well, else 503."""
    verdict, cached = health()
    words = {True: "ok", False: "failing"}
    return JsonResponse(
        {
            "status": words[verdict["ok"]],
            "checks": {"database": words[verdict["database"]], "cache": words[verdict["cache"]]},
            "cached": cached,
        },
        status=200 if verdict["ok"] else 503,
    )
