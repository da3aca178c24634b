"""Pages of the dashboard."""

from collections import Counter

from django.contrib import messages
from django.contrib.auth.decorators import login_required, permission_required
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBadRequest
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from . import readings, usage
from .choices import State
from .forms import UserSettingsForm
from .models import Integration, UserSettings
from .tasks import sync_integration

# The states that a user may choose; failing is found, never chosen.
CHOICES = (State.WORKING, State.PAUSED)


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """Show every organisation with how its integrations do."""
    names = readings.organisations()
    statuses = readings.all_statuses(names)
    rows = [
        {"pk": pk, "name": name, "totals": Counter(each["state"] for each in statuses[pk])}
        for pk, name in names.items()
    ]
    if request.user_settings["failing_first"]:
        rows.sort(key=lambda row: not row["totals"][State.FAILING])
    totals = sum((row["totals"] for row in rows), Counter())
    return render(request, "dashboard/home.html", {"rows": rows, "totals": totals})


@require_safe
def organisation(request: HttpRequest, pk: int) -> HttpResponse:
    """Show the integrations of one organisation."""
    name = readings.organisations().get(pk)
    if name is None:
        raise Http404("No such organisation.")
    statuses = readings.statuses(pk)
    if request.user_settings["failing_first"]:
        statuses = sorted(statuses, key=lambda each: each["state"] != State.FAILING)
    totals = Counter(each["state"] for each in statuses)
    views = usage.views_today(pk)
    usage.count_view(pk)
    context = {"pk": pk, "name": name, "statuses": statuses, "totals": totals, "views": views}
    return render(request, "dashboard/organisation.html", context)


@require_POST
@login_required
@permission_required("dashboard.change_integration", raise_exception=True)
def change_state(request: HttpRequest, pk: int) -> HttpResponse:
    """Pause or resume an integration; the same wish twice changes nothing."""
    state = request.POST.get("state")
    if state not in CHOICES:
        return HttpResponseBadRequest("state is one of: working, paused", "text/plain")
    with transaction.atomic():
        integration = get_object_or_404(Integration.objects.select_for_update(), pk=pk)
        integration.state = state
        integration.error = ""
        integration.save(update_fields=["state", "error"])
    done = "Paused" if state == State.PAUSED else "Resumed"
    messages.success(request, f"{done} {integration.get_provider_display()}.")
    return redirect("organisation", pk=integration.organisation_id)


@require_POST
@login_required
@permission_required("dashboard.change_integration", raise_exception=True)
def sync(request: HttpRequest, pk: int) -> HttpResponse:
    """Have an integration synced; however often it is asked for, it waits once."""
    integration = get_object_or_404(Integration, pk=pk)
    sync_integration.delay(pk)
    messages.success(request, f"{integration.get_provider_display()} will be synced in a moment.")
    return redirect("organisation", pk=integration.organisation_id)


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def edit_settings(request: HttpRequest) -> HttpResponse:
    """Show and save the settings of the user who asks."""
    if request.method == "POST":
        row, _ = UserSettings.objects.get_or_create(user=request.user)
        form = UserSettingsForm(request.POST, instance=row)
        if form.is_valid():
            form.save()
            messages.success(request, "Your settings are saved.")
            return redirect("settings")
    else:
        form = UserSettingsForm(initial=request.user_settings)
    return render(request, "dashboard/settings.html", {"form": form})
