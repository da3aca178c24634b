"""The page in the admin: its views, and who may see them."""

import time
from typing import TYPE_CHECKING, Any, Final

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.shortcuts import redirect
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_safe
from redis.exceptions import RedisError

from redis_optimizer.admin.actions import ACTIONS, Action
from redis_optimizer.admin.caches import clearable
from redis_optimizer.admin.done import Done, Refused
from redis_optimizer.admin.figures import figures
from redis_optimizer.admin.log import log, summary
from redis_optimizer.admin.look import look
from redis_optimizer.admin.pruning import uses_celery
from redis_optimizer.models import Overview

__all__ = ["OverviewAdmin"]

PARTS: Final = (
    "banner",
    "problems",
    "tiles",
    "history",
    "switches",
    "processes",
    "caches",
    "jobs",
    "requests",
    "servers",
)
"""Pieces of the page that a refresh brings anew, each with a template."""

INTERVALS: Final = (2, 5, 15, 60)
"""Seconds between two refreshes, to choose from."""


if TYPE_CHECKING:
    Base = admin.ModelAdmin[Overview]  # at run time it takes no parameters
else:
    Base = admin.ModelAdmin


class OverviewAdmin(Base):
    """One page in the place of a list of objects: there are none."""

    def get_urls(self) -> list[URLPattern]:
        """Return the URLs of the page; those of objects would ask for a table."""
        name = "redis_optimizer_overview"
        view = self.admin_site.admin_view
        return [
            path("", view(require_safe(self.page)), name=f"{name}_changelist"),
            path("data/", view(require_safe(self.data)), name=f"{name}_data"),
            *(
                path(
                    f"{action.name}/",
                    view(require_http_methods(["GET", "POST"])(self.act)),
                    {"action": action},
                    name=f"{name}_{action.name}",
                )
                for action in ACTIONS
            ),
        ]

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Tell whether the user sees the page in the index of the admin."""
        return self.has_view_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Tell whether the user may see the page."""
        return _may(request, "view_overview")

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Return False: there are no objects."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False."""
        return False

    def page(self, request: HttpRequest) -> HttpResponse:
        """Show the page."""
        self._demand(request)
        context = {
            **self.admin_site.each_context(request),
            **self._context(request),
            "title": _("Redis optimizer"),
            "opts": self.opts,
            "intervals": INTERVALS,
            "live": PARTS,
        }
        return TemplateResponse(request, "redis_optimizer/admin/page.html", context)

    def data(self, request: HttpRequest) -> HttpResponse:
        """Return what a refresh brings anew, as JSON: the pieces of the page, and its charts."""
        self._demand(request)
        context = self._context(request)
        parts = {
            part: render_to_string(f"redis_optimizer/admin/parts/{part}.html", context, request)
            for part in PARTS
        }
        return JsonResponse(
            {
                "at": context["at"],
                "commands": context["seen"].commands,
                "cost": context["cost"],
                "charts": context["charts"],
                "parts": parts,
            }
        )

    def act(self, request: HttpRequest, action: Action) -> HttpResponseBase:
        """Do what a button says, after a question where it cannot be undone."""
        self._demand(request)
        if not _may(request, action.permission):
            raise PermissionDenied
        if request.method != "POST":  # from the log-in page, which asked for a new session
            messages.warning(request, _("Nothing was done. Press the button again."))
            return redirect(self._url("changelist"))
        given = {name: str(request.POST[name]) for name in request.POST}
        try:
            action.check(given)
            question = action.question(given)
            if question and given.get("confirmed") != "yes":
                context = {
                    **self.admin_site.each_context(request),
                    "title": question.title,
                    "question": question,
                    "opts": self.opts,
                    "page_url": self._url("changelist"),
                    "given": {n: v for n, v in given.items() if n in ("only", "alias", "part")},
                }
                return TemplateResponse(request, "redis_optimizer/admin/confirm.html", context)
            done = action.run(given, request.user.get_username())
        except Refused as error:
            messages.error(request, str(error))
        except LookupError:
            words = _("Nothing was done: no cache of this site has a channel to its processes.")
            messages.error(request, words)
        except (RedisError, OSError) as error:
            words = _("Nothing was done: Redis does not answer (%(error)s).")
            messages.error(request, words % {"error": f"{type(error).__name__}: {error}"})
        else:
            self._report(request, done)
        return redirect(self._url("changelist"))

    def _report(self, request: HttpRequest, done: Done) -> None:
        log(request, done)
        messages.success(request, summary(done))
        for warning in done.warnings:
            messages.warning(request, warning)

    def _context(self, request: HttpRequest) -> dict[str, Any]:
        may = {action.permission: _may(request, action.permission) for action in ACTIONS}
        if not uses_celery():
            may["prune_results"] = False
        return {
            **figures(look(), time.time()),
            "may": may,
            "clearable": clearable(),
            "uses_celery": uses_celery(),
            "urls": {
                name.replace("-", "_"): self._url(name)
                for name in ("data", *(action.name for action in ACTIONS))
            },
        }

    def _url(self, name: str) -> str:
        return reverse(f"admin:redis_optimizer_overview_{name}", current_app=self.admin_site.name)

    def _demand(self, request: HttpRequest) -> None:
        if not self.has_view_permission(request):
            raise PermissionDenied


def _may(request: HttpRequest, permission: str) -> bool:
    return request.user.has_perm(f"redis_optimizer.{permission}")
